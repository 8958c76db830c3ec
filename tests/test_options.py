from __future__ import annotations

import pytest

from pytest_agentcap.fixtures import SETTINGS
from pytest_agentcap.options import Settings


def settings_of(pytester: pytest.Pytester, *args: str) -> Settings:
    return pytester.parseconfigure("-p", "agentcap", *args).stash[SETTINGS]


def test_the_command_line_wins_over_the_ini_file_and_that_over_the_environment(project, pytester, monkeypatch):
    project.write(
        "pytest.ini",
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
        (["--turns", "0"], "*--turns: '0' is not a whole number from 1 on"),
        (["--turn-timeout", "nan"], "*--turn-timeout: 'nan' is not a number of seconds above 0"),
        (["--model", "two words"], "*--model: 'two words' is not a model id*"),
        (["--model", "m", "--upstream", "ftp://x"], "*--upstream: 'ftp://x' is no upstream: give 'scripted' or a URL*"),
        (["--sandbox", "chroot"], "*--sandbox: 'chroot' is none of podman, host"),
        (["--limit", "1", "--sample", "1"], "ERROR: --limit and --sample exclude each other: give one"),
        (["--workspace", "nowhere"], "ERROR: --workspace nowhere: there is no such folder"),
        (["--upstream", "http://127.0.0.1:1"], "ERROR: --upstream http://127.0.0.1:1 needs a model: pass --model ID"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_status_4(project, args, line):
    result = project.capture("-n2", *args)
    assert result.ret == 4
    result.stderr.fnmatch_lines([line])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_bad_ini_value_names_the_file_and_the_key(project):
    project.write("pytest.ini", "[pytest]\nagentcap_trials = many\n")
    result = project.capture()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *pytest.ini: agentcap_trials: 'many' is not a whole number from 1 on"])


@pytest.mark.parametrize("owner", ["conftest", "plugin"])
def test_whoever_owns_model_keeps_it_and_the_long_name_works(project, owner):
    own = "def pytest_addoption(parser):\n    parser.addoption('--model', default='theirs')\n"
    own += "def pytest_report_header(config):\n    return 'their model is ' + config.getoption('--model')\n"
    project.write("conftest.py" if owner == "conftest" else "owner.py", own)
    load = () if owner == "conftest" else ("-p", "owner")
    project.write_tasks("say hello")
    long = ("--agentcap-model", "org/ours", "--agentcap-upstream", "scripted")
    result = project.capture(*load, "--model", "other", *long, "-n2" if owner == "plugin" else "-n0")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["their model is other", "agentcap: taken by another plugin or a conftest.py: --model (use --agentcap-model)"]
    )
    assert project.results()[0]["model"] == "org/ours"
