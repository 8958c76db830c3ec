from __future__ import annotations

import pytest

from pytest_agentcap.fixtures import SETTINGS
from pytest_agentcap.settings import Settings


def settings_of(pytester: pytest.Pytester, *args: str) -> Settings:
    return pytester.parseconfigure("-p", "agentcap", *args).stash[SETTINGS]


def test_the_command_line_wins_over_the_ini_file_and_that_over_the_environment(project, pytester, monkeypatch):
    pytester.makeini(
        """
        [pytest]
        agentcap_agent = loop
        agentcap_model = org/a org/b
        agentcap_sandbox = host
        agentcap_trials = 3
        agentcap_turn_timeout = 7.5
        agentcap_no_mask = true
        agentcap_label = from the file
        """,
    )
    monkeypatch.setenv("AGENTCAP_UPSTREAM", "http://one.example/v1/")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://two.example")
    settings = settings_of(pytester, "--trials", "2", "--model", "org/c", "--agentcap-label", "given")
    assert settings.agents == ("loop",)
    assert settings.models == ("org/c",)
    assert settings.upstream == "http://one.example/v1"
    assert (settings.trials, settings.turn_timeout_s, settings.label) == (2, 7.5, "given")
    assert (settings.sandbox, settings.mask) == ("host", False)


def test_the_defaults_are_the_scripted_model_in_podman(project, pytester):
    settings = settings_of(pytester)
    assert settings.agents == ()
    assert settings.models == ("scripted",)
    assert (settings.turns, settings.trials, settings.followup) == (1, 1, "continue")
    assert (settings.sandbox, settings.network, settings.mask) == ("podman", "model", True)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--turns", "0"], "--turns: '0' is not a whole number from 1 on"),
        (["--turn-timeout", "nan"], "--turn-timeout: 'nan' is not a number of seconds above 0"),
        (["--seed", "x"], "--seed: 'x' is not a whole number"),
        (["--model", "two words"], "--model: 'two words' is not a model id"),
        (["--sandbox", "chroot"], "--sandbox: 'chroot' is none of podman, host"),
        (["--limit", "1", "--sample", "1"], "--limit and --sample exclude each other: give one"),
        (["--force"], "--force needs --into RUN or --resume RUN"),
        (["--workspace", "nowhere"], "--workspace nowhere: there is no such folder"),
        (["--upstream", "http://127.0.0.1:1"], "--upstream http://127.0.0.1:1 needs a model: pass --model ID"),
        *(
            (["--model", "m", "--upstream", url], f"{url!r} is no upstream: give 'scripted', replay:SOURCE or a URL")
            for url in (
                *("ftp://x", "http://", "x"),
                *("http://127.0.0.1:99999", "http://x:port", "http://[::1", "http://a..b"),
            )
        ),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_bad_value_is_refused_in_one_line(pytester, args, line):
    with pytest.raises(pytest.UsageError) as refused:
        pytester.parseconfigure("-p", "agentcap", "--agent", "loop", *args)
    assert line in str(refused.value)


def test_a_bad_value_is_exit_status_4_with_workers_too(project):
    for args in (("--turns", "0"), ("--limit", "1", "--sample", "1")):
        result = project.capture("-n2", *args)
        assert result.ret == 4
        assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_bad_ini_value_names_the_file_and_the_key(project):
    project.write("pytest.ini", "[pytest]\nagentcap_trials = many\n")
    result = project.capture()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *pytest.ini: agentcap_trials: 'many' is not a whole number from 1 on"])


OWNER = """
    def pytest_addoption(parser):
        parser.addoption("--model", default="theirs")

    def pytest_report_header(config):
        return "their model is " + config.getoption("--model")
"""
TAKEN = "agentcap: taken by another plugin or a conftest.py: --model (use --agentcap-model)"


def test_a_conftest_that_owns_model_keeps_it(project):
    project.write("conftest.py", OWNER)
    project.write_tasks("say hello")
    long = ("--agentcap-model", "org/ours", "--agentcap-upstream", "scripted")
    result = project.pytest("--agent", "loop", "--collect-only", "--model", "other", *long)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["their model is other", TAKEN, "*test_task[[]loop-ours-say-hello-*"])


def test_a_plugin_that_owns_model_keeps_it_in_workers_too(project):
    project.write("owner.py", OWNER)
    project.write_tasks("say hello")
    long = ("--agentcap-model", "org/ours", "--agentcap-upstream", "scripted")
    result = project.capture("-p", "owner", "-n2", "--model", "other", *long)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["their model is other", TAKEN])
    assert project.results()[0]["model"] == "org/ours"
