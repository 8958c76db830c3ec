"""`agentcap export --format`, on run directories and parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.conversation.sources import Faults, read_parquet, read_run_directory
from pytest_agentcap.formats.registry import FORMATS
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(workspace, new_session):
    """A run with three trials of a task, one of them tried twice."""
    run = RunDirectory(workspace / "run")
    for trial, attempt, verdict in ((1, 1, "infra"), (1, 2, "passed"), (2, 1, "failed"), (3, 1, "failed")):
        session = new_session(f"buy-t{trial}-a{attempt}", trial=trial, attempt=attempt, verdict=verdict)
        messages = [session.SYSTEM, session.user("buy milk")]
        asks = session.says(None, ("c1", {"command": "ls"}))
        session.call(messages, asks)
        session.call([*messages, asks, session.result("c1", "a")], session.says(f"done {trial}.{attempt}"))
        session.save(run)
    return run


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_and_its_parquet_give_the_same_files(run, capsys, name):
    write_parquet(run)
    assert main(["export", "run", "--format", name, "-o", "one"]) == 0
    assert main(["export", "run/captures.parquet", "--format", name, "-o", "two"]) == 0
    one, two = files_below(Path("one")), files_below(Path("two"))
    assert one
    assert one == two
    assert "records in" in capsys.readouterr().out


def test_a_folder_of_parquet_files_is_a_target(run):
    path = write_parquet(run).path
    for name in ("a", "b"):
        (Path("data") / name).mkdir(parents=True)
        (Path("data") / name / "train.parquet").write_bytes(path.read_bytes())
    assert main(["export", "data", "--format", "sft", "-o", "out"]) == 0
    assert len(read_lines(Path("out/sft.jsonl"))) == 8


def test_latest_keeps_the_highest_attempt_of_each_task_and_trial(run):
    write_parquet(run)
    for target in ("run", "run/captures.parquet"):
        assert main(["export", target, "--format", "sft", "-o", "out", "--latest"]) == 0
        rows = read_lines(Path("out/sft.jsonl"))
        assert [(row["trial"], row["attempt"]) for row in rows] == [(1, 2), (2, 1), (3, 1)]
    assert main(["export", "run", "--format", "sft", "-o", "out"]) == 0
    assert len(read_lines(Path("out/sft.jsonl"))) == 4


def test_the_folder_is_named_after_the_format(run):
    assert main(["export", "run", "--format", "dpo"]) == 0
    (row,) = read_lines(Path("agentcap-dpo/dpo.jsonl"))
    assert (row["chosen_session"], row["rejected_session"]) == ("buy-t1-a2", "buy-t2-a1")


def test_a_bad_call_is_reported_and_the_rest_is_written(run, capsys):
    broken = sorted(run.captures.glob("*.request.json"))[0]
    broken.write_text("{")
    assert main(["export", "run", "--format", "sft", "-o", "out"]) == 1
    assert broken.name in capsys.readouterr().err
    assert len(read_lines(Path("out/sft.jsonl"))) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--format", "sft"], "nowhere is neither a run"),
        (["empty", "--format", "sft"], "empty: neither a run directory nor a folder with parquet files"),
        (["nowhere.parquet", "--format", "sft"], "nowhere.parquet: no such file"),
        (["odd.parquet", "--format", "sft"], "odd.parquet: not a parquet file"),
        (["other.parquet", "--format", "sft"], "it has no column request_id"),
        (["run/captures.parquet"], "pass --format"),
        (["run", "run/captures.parquet", "--format", "atif"], "would be written twice"),
    ],
)
def test_a_target_that_cannot_be_exported_is_one_line(run, capsys, arguments, said):
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_parquet(run)
    Path("empty").mkdir()
    Path("odd.parquet").write_text("no parquet")
    pq.write_table(pa.table({"a": [1]}), "other.parquet")
    assert main(["export", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_agentcaps_own_parquet_in_its_own_order_is_read_by_sessions(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for rid, task, size in (("c", "task_01", 2), ("a", "task_02", 1), ("b", "task_01", 1)):
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": task}] * size})
        raw = 'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
        response = json.dumps({"stream": True, "raw": raw})
        known = {"captured_at": 5, "model": "m", "turn": 1, "upstream_url": "u", "run_id": "r"}
        rows.append({"request_id": rid * 32, "task_id": task, "request": body, "response": response, **known})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "old.parquet")
    found = list(read_parquet(tmp_path / "old.parquet", Faults()))
    assert [[call.rid[0] for call in conversation.calls] for conversation in found] == [["b", "c"], ["a"]]
    assert {call.said.text for conversation in found for call in conversation.calls if call.said} == {"hi"}
    assert [conversation.name for conversation in found] == ["task_01", "task_02"]


def test_a_captured_run_is_exported_in_every_format(project, monkeypatch):
    from atif import Trajectory

    project.write_jsonl(
        {"id": "list", "input": "count the files", "reference": "```bash\nls | wc -l\n```\nnone"},
        {"id": "say", "input": "say hello", "reference": "hello"},
    )
    project.capture("prompts.jsonl", "--turns", "2").assert_outcomes(passed=2)
    monkeypatch.chdir(project.path)
    (run,) = project.runs()
    for name in FORMATS:
        assert main(["export", run.name, "--format", name]) == 0
    rows = read_lines(Path("agentcap-sft/sft.jsonl"))
    assert {row["task_id"] for row in rows} == {"list", "say"}
    assert all(row["messages"][-1]["role"] == "assistant" and row["tools"] for row in rows)
    documents = [json.loads(path.read_bytes()) for path in Path("agentcap-atif").rglob("*.json")]
    assert len([Trajectory.model_validate(document) for document in documents]) == 2
    traces = [read_lines(path) for path in Path("agentcap-sts").rglob("*.jsonl")]
    assert {trace[0]["harness"] for trace in traces} == {"loop"}
    assert len(read_lines(Path("agentcap-otlp/otlp.jsonl"))) == 2
    again = RunDirectory(Path("agentcap-agentcap") / run.name)
    conversations = list(read_run_directory(again, Faults()))
    assert sum(len(conversation.calls) for conversation in conversations) == sum(
        result["calls"] for result in project.results()
    )
    assert {thread.kind for conversation in conversations for thread in conversation.threads} == {"main"}
