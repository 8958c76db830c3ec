from __future__ import annotations

import json

LIST_MODELS = (
    """python3 -c 'import os, urllib.request; urllib.request.urlopen(os.environ["AGENTCAP_PROXY_URL"] + "/models")'"""
)
TASKS = [
    {"id": "mute", "input": "echo hello"},
    {"id": "error", "input": "python3 call one; echo fire >&2; echo doused >&2; exit 3"},
    {"id": "slow", "input": "python3 call two; echo thinking >&2; sleep 600", "timeout": 4000},
    {"id": "left", "input": f"python3 call three; {LIST_MODELS}; sleep 600 & echo started"},
    {"id": "two", "input": ["python3 call four; date > when.txt", "cat when.txt; python3 call five"]},
    {"id": "stops", "input": ["python3 call six; exit 4", "never"]},
]


def test_sessions_that_end_badly_say_why_and_keep_their_logs(project):
    project.write_shell_agent()
    project.write_jsonl(*TASKS)
    result = project.pytest("--agent", "shell", "--sandbox", "host", "-n2")
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=4)
    shown = result.stdout
    shown.fnmatch_lines(["*scripted-mute]*", "no_calls: the agent made no model call", "*agentcap -*"])
    shown.fnmatch_lines(["agent_error: turn 1 ended with exit code 3: doused", "*agentcap -*", "*chat * 200 * 18+12"])
    shown.fnmatch_lines(["last stderr lines of turn 1:", "  fire", "  doused", "", "captures: */captures"])
    shown.fnmatch_lines(["agent_timeout: turn 1 was ended after * s"])
    shown.fnmatch_lines(["last stderr lines of turn 1:", "  thinking"])
    assert "Traceback" not in shown.str()

    results = {result["session"]: result for result in project.results()}
    assert {name: (r["verdict"], r["calls"], r["abort_reason"]) for name, r in results.items()} == {
        "mute": ("no_calls", 0, None),
        "error": ("agent_error", 1, "initial-turn-failed"),
        "slow": ("agent_timeout", 1, "initial-turn-timeout"),
        "left": ("captured", 1, None),
        "two": ("captured", 2, None),
        "stops": ("agent_error", 1, "initial-turn-failed"),
    }
    assert [turn["returncode"] for turn in results["slow"]["turns"]] == [None]
    assert [turn["turn"] for turn in results["two"]["turns"]] == [1, 2]
    assert results["left"]["notes"] == ["forwarded, not recorded: 1× GET /v1/models"]
    [run] = project.runs()
    assert (run / "sessions/error_turn_01.err").read_text() == "fire\ndoused\n"
    assert (run / "sessions/slow_turn_01.err").read_text().startswith("thinking\n")
    assert (run / "sessions/mute_turn_01.out").read_text() == "hello\n"
    assert sorted(path.name for path in run.glob("sessions/two_*.out")) == ["two_turn_01.out", "two_turn_02.out"]
    requests = [json.loads(path.read_bytes()) for path in run.glob("captures/*.request.json")]
    words = {(r["session"], r["turn"]): r["body"]["messages"][0]["content"] for r in requests}
    assert words == {
        ("error", 1): "one",
        ("slow", 1): "two",
        ("left", 1): "three",
        ("two", 1): "four",
        ("two", 2): "five",
        ("stops", 1): "six",
    }


def test_a_broken_upstream_is_infra_and_not_the_agents_failure(project, http_upstream):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": "python3 call a"})
    with http_upstream(lambda request: (503, b'{"error": "overloaded"}')) as upstream:
        result = project.pytest("--agent", "shell", "--sandbox", "host", "--model", "m", "--upstream", upstream.url)
    result.stdout.fnmatch_lines(["infra: the upstream answered 503"])
    assert project.results()[0]["verdict"] == "infra"


def test_the_option_wins_over_the_tasks_own_timeout(project):
    project.write_shell_agent()
    project.write_jsonl({"id": "slow", "input": "sleep 600", "timeout": 500_000})
    result = project.pytest("--agent", "shell", "--sandbox", "host", "--turn-timeout", "0.5")
    result.stdout.fnmatch_lines(["*agent_timeout: turn 1 was ended after * s"])


def test_sessions_have_a_home_of_their_own_and_see_little_of_the_environment(project, monkeypatch):
    monkeypatch.setenv("AGENTCAP_API_KEY", "sk-never-shown-1234")
    monkeypatch.setenv("SOMETHING", "else")
    project.write_shell_agent()
    project.write_tasks('python3 call hi > /dev/null; env; pwd; ls -A "$HOME"; # a task about sk-never-shown-1234')
    project.write("seed/a.txt", "a")
    options = ("--workspace", "seed", "--label", "blue", "--results", "rows.jsonl")
    project.pytest("--agent", "shell", "--sandbox", "host", *options).assert_outcomes(passed=1)
    [result] = project.results()
    said = result["turns"][0]["reply"].splitlines()
    names = {line.partition("=")[0] for line in said if "=" in line}
    assert names <= {"PATH", "LANG", "TERM", "TZ", "HOME", "TMPDIR", "PWD", "OLDPWD", "_", "SHLVL"} | {
        name for name in names if name.startswith(("LC_", "AGENTCAP_"))
    }
    assert names & {"AGENTCAP_API_KEY", "SOMETHING"} == set()
    assert said[-1].endswith("/work")
    [run] = project.runs()
    written = [path.read_text() for path in run.rglob("*.*") if path.suffix != ".parquet"]
    assert "sk-never-shown" not in "".join([*written, (project.path / "rows.jsonl").read_text()])
    assert "# a task about agentcap-redacted-" in result["prompt"]
    assert json.loads(next(run.glob("captures/*.request.json")).read_bytes())["label"] == "blue"
