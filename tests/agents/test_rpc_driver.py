from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from pytest_agentcap.agents.rpc import program_name, read_exchange, read_program
from pytest_agentcap.agents.spec import AgentError

ADAPTERS = Path(__file__).with_name("adapters")


def program_of(project) -> str:
    shutil.copy(ADAPTERS / "echo_adapter.py", project.path / "echo_adapter.py")
    return f"adapter:{sys.executable} ./echo_adapter.py"


def steps_of(project, name: str) -> list[dict]:
    [run] = project.runs()
    return [json.loads(line) for line in (run / f"sessions/{name}.steps.jsonl").read_text().splitlines()]


def test_an_adapter_keeps_one_process_over_the_turns_of_a_session(project):
    program = program_of(project)
    project.write_jsonl({"id": "a", "input": ["first", "second"]})
    done = project.pytest("--agent", program, "--sandbox", "host")
    done.assert_outcomes(passed=1)
    [result] = project.results()
    assert result["nodeid"] == "prompts.jsonl::test_task[echo_adapter-scripted-a]"
    assert (result["agent"], result["session_id"], result["calls"]) == ("echo_adapter", "s1", 2)
    assert [turn["returncode"] for turn in result["turns"]] == [0, 0]
    assert [turn["reply"].partition(" ")[0] for turn in result["turns"]] == ["1", "2"]
    steps = steps_of(project, "a_turn_02")
    assert [(step["type"], step.get("content"), step.get("status")) for step in steps] == [
        ("thought", "hm", None),
        ("tool_call", None, "completed"),
        ("message", "one two", None),
    ]
    assert 0 < steps[1]["duration_ms"] < 60_000
    [run] = project.runs()
    bodies = [json.loads(path.read_bytes())["body"] for path in run.glob("captures/*.request.json")]
    assert sorted(len(body["messages"]) for body in bodies) == [1, 2]
    second = (run / "sessions/a_turn_02.out").read_text()
    assert "a notice that is no message" in second
    assert "initialize" not in second


def test_errors_ends_and_deadlines_of_an_adapter_are_the_agents_and_its_processes_are_ended(project):
    program = program_of(project)
    project.write_jsonl(
        {"id": "refused", "input": "please refuse"},
        {"id": "died", "input": "please die"},
        {"id": "late", "input": "please hang", "timeout": 4000},
    )
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(autouse=True)
        def kept(agent_session, tmp_path_factory):
            yield
            pids = agent_session.workspace / "pids"
            if pids.exists():
                open("pids", "w").write(pids.read_text())
        """,
    )
    project.pytest("--agent", program, "--sandbox", "host").assert_outcomes(failed=3)
    results = {result["session"]: result for result in project.results()}
    assert results["refused"]["verdict"] == results["died"]["verdict"] == "agent_error"
    assert results["refused"]["turns"][0]["returncode"] == -32603
    assert "session/prompt: refused on purpose" in results["refused"]["reason"]
    assert results["died"]["turns"][0]["returncode"] == 7
    assert "the adapter ended with 7 before it answered session/prompt" in results["died"]["reason"]
    assert (results["late"]["verdict"], results["late"]["abort_reason"]) == ("agent_timeout", "initial-turn-timeout")
    assert results["late"]["turns"][0]["reply"] == "still "
    pids = [int(pid) for pid in (project.path / "pids").read_text().split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    [run] = project.runs()
    assert (run / "sessions/died_turn_01.err").read_text().startswith("dying\n")


def test_an_adapter_in_javascript(project, need):
    need("node")
    shutil.copy(ADAPTERS / "echo-adapter.mjs", project.path / "echo-adapter.mjs")
    project.write_jsonl({"id": "a", "input": ["first", "second"]})
    done = project.pytest("--agent", "adapter:node echo-adapter.mjs", "--sandbox", "host")
    done.assert_outcomes(passed=1)
    [result] = project.results()
    assert (result["agent"], result["session_id"], result["calls"]) == ("echo-adapter", "js", 2)
    assert result["turns"][1]["reply"].startswith("second: ")


def test_an_adapter_needs_the_sandbox_of_this_machine(project):
    program = program_of(project)
    project.write_tasks("hello")
    done = project.pytest("--agent", program)
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*--agent: adapter:*runs on this machine only: pass --sandbox host"])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["bun", "./my-adapter.ts"], "my-adapter"),
        (["python3", "-u", "tools/own.py", "--fast"], "own"),
        (["npx", "my-adapter"], "npx"),
        (["/usr/bin/agent"], "agent"),
    ],
)
def test_a_program_is_called_after_its_last_path(words, name):
    assert program_name(words) == name


def test_words_that_name_files_are_found_from_any_folder(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = read_program("adapter:python3 a.py --out b.py", tmp_path)
    assert first.command.first == ("python3", f"{tmp_path}/a.py", "--out", "b.py")
    (tmp_path / "a.py").write_text("2")
    assert read_program("adapter:python3 a.py --out b.py", tmp_path).version != first.version


@pytest.mark.parametrize("text", ["adapter:", "adapter:'open"])
def test_a_command_that_cannot_be_read_is_an_error(text):
    with pytest.raises(AgentError):
        read_program(text, Path(os.sep))


def test_updates_of_the_agent_client_protocol_are_understood():
    def line(**update: object) -> str:
        return json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": {"update": update}})

    lines = [
        line(sessionUpdate="plan", entries=[{"content": "look"}, {"content": "change"}]),
        line(sessionUpdate="tool_call", toolCallId="c1", title="Read", status="pending", rawInput={"path": "a"}),
        line(sessionUpdate="tool_call", toolCallId="c2", title="Read", status="pending"),
        line(sessionUpdate="tool_call_update", toolCallId="c1", status="completed", rawOutput="text"),
        line(sessionUpdate="agent_message_chunk", content={"type": "text", "text": "done"}),
        line(sessionUpdate="current_mode_update"),
        '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "end_turn"}}',
    ]
    reply, steps = read_exchange("\n".join(lines), [1.0, 2.0, 3.0, 10.5, 11.0, 12.0, 13.0])
    assert reply == "done"
    assert [(step.type, step.name, step.status, step.at_ms, step.duration_ms) for step in steps] == [
        ("plan", None, None, 1.0, None),
        ("tool_call", "Read", "completed", 2.0, 8.5),
        ("tool_call", "Read", "pending", 3.0, None),
        ("message", None, None, 11.0, None),
    ]
    assert (steps[0].content, steps[1].input, steps[1].output) == ("look\nchange", {"path": "a"}, "text")
