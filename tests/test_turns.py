"""What happens over the turns of a session: prompts, reasons for stopping, deadlines, homes."""

from __future__ import annotations

import json

import psutil
import pytest

SHELL = ("--agent", "shell", "--sandbox", "host")
AGENT = """
name = "{name}"
version = "1"
api = "chat"
executable = "sh"
[command]
first = ["sh"]
next = [{next}]
prompt = "stdin"
[session]
{session}
[trace]
paths = ["{{{{home}}}}/log/*"]
[[files]]
template = "call.py"
path = "{{{{workspace}}}}/call"
"""


def write_agent(project, name: str, next: str, session: str) -> None:
    project.write_shell_agent()
    project.write(f"agents/{name}/agent.toml", AGENT.format(name=name, next=next, session=session))
    project.write(f"agents/{name}/call.py", (project.path / "agents/shell/call.py").read_text())


def requests(project) -> list[dict]:
    [run] = project.runs()
    found = [json.loads(path.read_bytes()) for path in run.glob("captures/*.request.json")]
    return sorted(found, key=lambda request: (request["session"], request["call_index"]))


def test_scripted_turns_come_first_then_follow_ups_and_all_prompts_are_recorded(project):
    project.write_jsonl(
        {"id": "list", "input": ["Write a file", "Write another"]}, {"id": "many", "input": ["a", "b", "c", "d"]}
    )
    project.capture("--turns", "3", "--followup", "templates").assert_outcomes(passed=2)
    prompts = {result["session"]: [turn["prompt"] for turn in result["turns"]] for result in project.results()}
    assert prompts == {"list": ["Write a file", "Write another", "go on"], "many": ["a", "b", "c", "d"]}
    asked = [request for request in requests(project) if request["session"] == "list"]
    last = asked[-1]["body"]["messages"]
    assert [message["content"] for message in last if message["role"] == "user"] == prompts["list"]
    assert [request["turn"] for request in asked] == [1, 2, 3]


@pytest.mark.parametrize(
    ("next", "session", "prompts", "abort", "turns"),
    [
        ("", 'id = "none"', ["python3 call a", "b"], "resume-not-supported", 1),
        ('"sh"', 'id = "output"\njson = "sid"', ["python3 call a", "b"], "no-session-id", 1),
        ('"sh"', 'id = "chosen"', ["python3 call a; exit 3", "b"], "initial-turn-failed", 1),
        ('"sh"', 'id = "chosen"', ["python3 call a; sleep 600", "b"], "initial-turn-timeout", 1),
        ('"sh"', 'id = "chosen"', ["python3 call a", "exit 4"], "follow-up-turn-failed", 2),
        ('"sh"', 'id = "chosen"', ["python3 call a", "sleep 600"], "follow-up-turn-timeout", 2),
    ],
)
def test_reasons_for_stopping_early_carry_agentcaps_names(project, next, session, prompts, abort, turns):
    write_agent(project, "stub", next, session)
    project.write_jsonl({"id": "a", "input": prompts, "timeout": 3000})
    project.pytest("--agent", "stub", "--sandbox", "host", "--turns", "3").assert_outcomes(failed=1)
    [result] = project.results()
    assert (result["abort_reason"], len(result["turns"])) == (abort, turns)


def test_a_test_that_runs_prompts_is_told_when_there_can_be_no_other(project):
    write_agent(project, "stub", "", 'id = "none"')
    project.write(
        "test_own.py",
        """
        def test_own(agent_session):
            assert agent_session.run("python3 call a").verdict == "captured"
            outcome = agent_session.run("python3 call b")
            assert (outcome.abort_reason, len(outcome.turns)) == ("resume-not-supported", 1)
        """,
    )
    project.pytest("--agent", "stub", "--sandbox", "host").assert_outcomes(passed=1)


LEAVES = """
mkdir -p ~/log; echo begun > ~/log/a.jsonl; python3 call one; echo working; echo trouble >&2
setsid sh -c 'trap "" TERM; sleep 98761' & nohup sleep 98762 >/dev/null 2>&1 &
(setsid nohup sleep 98763 >/dev/null 2>&1 &) ; sleep 98764
"""


def test_a_turn_that_times_out_leaves_no_process_and_keeps_output_captures_and_trace(project):
    write_agent(project, "stub", '"sh"', 'id = "chosen"')
    project.write_jsonl({"id": "slow", "input": LEAVES})
    project.pytest("--agent", "stub", "--sandbox", "host", "--turn-timeout", "4").assert_outcomes(failed=1)
    [result], [run] = project.results(), project.runs()
    assert (result["verdict"], result["abort_reason"], result["calls"]) == ("agent_timeout", "initial-turn-timeout", 1)
    assert (run / "sessions/slow_turn_01.out").read_text().endswith("working\n")
    assert (run / "sessions/slow_turn_01.err").read_text().startswith("trouble\n")
    assert (run / "traces/slow/a.jsonl").read_text() == "begun\n"
    assert len(list(run.glob("captures/*.response.json"))) == 1
    left = {" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}
    assert not {f"sleep {seconds}" for seconds in range(98761, 98765)} & left


def test_each_session_has_a_home_of_its_own(project):
    project.write_shell_agent()
    project.write_jsonl(
        {"id": "a", "input": "echo secret > ~/memory; python3 call a"},
        {"id": "b", "input": "python3 call b; ls -A ~; cat ~/memory; true"},
    )
    project.pytest(*SHELL).assert_outcomes(passed=2)
    assert "secret" not in project.results()[1]["turns"][0]["reply"]
