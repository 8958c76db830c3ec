"""Rows from run directories and captures parquets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.analysis.sources import read_captures, read_results
from pytest_agentcap.cli import main
from pytest_agentcap.conversation.sources import Faults
from pytest_agentcap.formats.eval_rows import Message, Plan, Thought, ToolCall
from pytest_agentcap.formats.results_jsonl import capture_row
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory


@pytest.fixture
def run(tmp_path, new_session, monkeypatch):
    """A run with trials of a task: one passed after an attempt that broke, one failed, one that broke."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)
    run = RunDirectory(tmp_path / "run")
    for trial, attempt, verdict in ((1, 1, "infra"), (1, 2, "passed"), (2, 1, "failed"), (3, 1, "infra")):
        session = new_session(f"buy-t{trial}-a{attempt}", trial=trial, attempt=attempt, verdict=verdict)
        messages = [session.SYSTEM, session.user("buy milk")]
        asks = session.says("I look", ("c1", {"command": "ls"}), thinking="what is there?")
        session.call(messages, asks)
        session.call([*messages, asks, session.result("c1", "a")], session.says(f"done {trial}"))
        session.save(run)
    return run


def test_a_trajectory_has_steps_with_times_ids_arguments_and_results(run):
    row = read_captures("run", Faults())[0]
    # The session began at 1 s, its first call came with it and took half a second, the second began at 2 s.
    assert row.trajectory == [
        Thought(content="what is there?", timestamp=500.0),
        Message(content="I look", timestamp=500.0),
        ToolCall(
            name="bash", status="completed", input={"command": "ls"}, output="a", duration=500.0, timestamp=500.0,
            step_id="c1",
        ),
        Message(content="done 1", timestamp=1500.0),
    ]  # fmt: skip
    assert row.output == "done 1"
    assert row.metadata["trajectoryRichness"] == "full"
    assert (row.timing.start, row.timing.total) == (1000, 1000)


def test_the_last_attempts_of_several_trials_are_one_row(run):
    results = read_results("run", Faults())
    (row,) = results.trials
    assert [(trial.verdict, trial.origin.attempt) for trial in row.trials] == [
        ("passed", 2),
        ("failed", 1),
        ("infra", 1),
    ]
    assert (row.k, row.estimates.judged, row.estimates.excluded) == (3, 2, {"infra": 1})
    assert (row.pass_rate, row.estimates.pass_at) == (0.5, {"1": 0.5, "2": 1.0, "3": None})


def test_what_the_infrastructure_broke_has_no_score(run):
    verdicts = {row.verdict: row.score for row in read_captures("run", Faults())}
    assert (verdicts["passed"].passed, verdicts["failed"].passed) == (True, False)
    assert not verdicts["infra"]


def test_a_parquet_gives_the_same_steps_and_verdicts(run):
    write_parquet(run)
    rows, same = read_captures("run", Faults()), read_captures("run/captures.parquet", Faults())
    assert [row.trajectory for row in rows] == [row.trajectory for row in same]
    assert [(row.id, row.output, row.verdict) for row in rows] == [(row.id, row.output, row.verdict) for row in same]
    assert [row.origin.request_ids for row in rows] == [row.origin.request_ids for row in same]


def test_runs_and_parquets_are_compared(run, capsys):
    write_parquet(run)
    assert main(["compare", "a:run", "b:run/captures.parquet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["headToHead"]["overall"] == [{"runA": "a", "runB": "b", "aWins": 0, "bWins": 0, "ties": 1}]
    assert report["estimates"]["a"] == report["estimates"]["b"]


def test_a_session_that_has_not_ended_is_told_and_left_out(run, capsys):
    path = next(Path("run/results").glob("*t3*"))
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "verdict": None}))
    assert main(["summarize", "run", "-o", "s.jsonl"]) == 1
    assert "has no end yet" in capsys.readouterr().err
    assert len(Path("s.jsonl").read_text().splitlines()) == 2


def test_a_session_without_calls_has_a_row(run):
    for path in Path("run/captures").glob("*.json"):
        path.unlink()
    rows = read_captures("run", Faults())
    assert [row.trajectory for row in rows] == [[], [], []]
    assert rows[0].metadata["trajectoryRichness"] == "minimal"


def test_plans_are_steps_beside_the_tool_calls_that_make_them(new_session):
    from pytest_agentcap.conversation.session import read_conversation

    session = new_session()
    answer = session.says(None, ("c1", {"todos": [{"content": "one", "status": "done"}]}))
    answer["tool_calls"][0]["function"]["name"] = "TodoWrite"
    session.call([session.user("go")], answer)
    row = capture_row(None, read_conversation(session.records))
    assert [type(step) for step in row.trajectory] == [ToolCall, Plan]
    assert row.trajectory[1].entries == [{"content": "one", "status": "done"}]
    assert row.trajectory[0].status == "pending"


def test_a_half_answer_that_was_asked_for_again_is_no_step(new_session):
    from pytest_agentcap.conversation.session import read_conversation

    session = new_session()
    messages = [session.user("go")]
    session.call(messages, None)
    session.call(messages, session.says("done"))
    row = capture_row(None, read_conversation(session.records))
    assert [step.content for step in row.trajectory] == ["done"]


def test_several_graders_join_to_the_mean_score_and_are_all_kept(run):
    path = next(Path("run/results").glob("*t2*"))
    graders = [
        {"name": "one", "passed": True, "score": 1.0, "reasoning": "fine", "outcome": None, "duration_s": 0.1},
        {"name": "two", "passed": False, "score": 0.5, "reasoning": "late", "outcome": {"n": 1}, "duration_s": 0.1},
    ]
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "graders": graders}))
    row = next(row for row in read_captures("run", Faults()) if row.verdict == "failed")
    assert (row.score.passed, row.score.score, row.score.reasoning) == (False, 0.75, "one: fine\ntwo: late")
    assert [grader.name for grader in row.graders] == ["one", "two"]
