from __future__ import annotations

import pytest

from pytest_agentcap.agents.steps import Step, write_steps
from pytest_agentcap.formats.eval_rows import Message, Plan, Thought, ToolCall
from pytest_agentcap.formats.told_steps import told_steps
from pytest_agentcap.runs.layout import RunDirectory

RESULT = {"session": "a", "turns": [{"turn": 1, "duration_s": 2.5}, {"turn": 2, "duration_s": 1.0}]}


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path)
    run.sessions.mkdir()
    return run


def test_steps_of_later_turns_come_after_those_of_earlier_ones(run):
    call = Step(
        "tool_call", name="Read", status="completed", at_ms=10, duration_ms=5, call_id="c1", input={"x": 1}, output="o"
    )
    write_steps(run.output("a", 1, "steps.jsonl"), [Step("thought", content="hm", at_ms=1.5), call])
    write_steps(run.output("a", 2, "steps.jsonl"), [Step("plan", content="go"), Step("message", content="hi", at_ms=1)])
    assert told_steps(run, RESULT) == [
        Thought(content="hm", timestamp=1.5),
        ToolCall(name="Read", status="completed", timestamp=10, duration=5, input={"x": 1}, output="o", step_id="c1"),
        Plan(entries=["go"], timestamp=None),
        Message(content="hi", timestamp=2501),
    ]


def test_a_session_that_told_nothing_has_none(run):
    assert told_steps(run, RESULT) == []


@pytest.mark.parametrize("line", ["{", '{"type": "dance"}', "{}"])
def test_a_broken_file_is_named(run, line):
    path = run.output("a", 1, "steps.jsonl")
    path.write_text(line)
    with pytest.raises(ValueError, match=f"{path}: not a file of steps"):
        told_steps(run, RESULT)
