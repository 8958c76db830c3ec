"""Where traces are read from: each source tells the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_agentcap.conversation.sources import Faults
from pytest_agentcap.formats.export import export_format
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.tracestats.sources import read_traces


def read(*targets):
    faults = Faults()
    return list(read_traces(targets, faults)), faults.lines


def test_a_run_its_parquet_and_its_exports_tell_the_same(run):
    write_parquet(run)
    export_format("agenttrace", [run], Path("out"))
    (trace,), faults = read("shop-run")
    assert faults == []
    assert [call.command for call in trace.calls] == ["false", "true"]
    for target in (run, ".agentcap/shop-run/captures.parquet", "out", "out/agenttrace.jsonl", "out/agenttrace.parquet"):
        (other,), faults = read(target)
        assert faults == []
        assert replace(other, place=trace.place) == trace


def test_rows_of_agenttrace_itself_are_read_from_jsonl_and_parquet(workspace, foreign):
    Path("theirs.jsonl").write_text(json.dumps(foreign) + "\n\n")
    nested = {f"{name}_json": json.dumps(foreign[name]) for name in ("spans", "llm_steps", "metadata")}
    flat = {name: foreign[name] for name in ("trace_id", "prompt", "model", "total_duration_ms")}
    rows = [{**flat, **nested, "dataset_name": "nl2bash", "task_id": 3, "run_id": "1"}]
    pq.write_table(pa.Table.from_pylist(rows), "theirs.parquet")
    (one,), _ = read("theirs.jsonl")
    (two,), _ = read("theirs.parquet")
    assert replace(two, place=one.place) == one
    (call,) = one.calls
    assert (call.command, call.exit_code, call.failed) == ("ls /testdata", 2, True)
    assert (call.cpu_s, call.duration_s, call.storage_read_bytes, call.syscall_read_bytes) == (0.5, 0.25, 0, None)
    assert (one.dataset, one.task, one.verdict, one.high_water, one.one_clock) == ("nl2bash", "3", None, True, False)


def test_a_folder_of_runs_is_read_run_by_run_and_a_session_counts_once(run):
    write_parquet(run)
    export_format("agenttrace", [run], Path("out"))
    traces, faults = read(".agentcap", "shop-run", "out", "out/agenttrace.jsonl")
    assert [trace.place for trace in traces] == ["shop-run"]
    assert faults == []


def test_equal_names_of_other_sessions_are_other_sessions(run, new_session):
    session = new_session("buy")
    session.call([session.user("other")], session.says("yes"), request_id="f" * 32)
    other = RunDirectory(Path("elsewhere/shop-run"))
    session.save(other)
    traces, _ = read("shop-run", str(other.path))
    assert len({trace.trace_id for trace in traces}) == 1
    assert len(traces) == 2


def test_numbers_that_are_none_are_not_known(workspace, foreign):
    foreign["total_duration_ms"], foreign["spans"][0]["duration_ms"] = float("nan"), float("inf")
    Path("rows.jsonl").write_text(json.dumps(foreign))
    (trace,), faults = read("rows.jsonl")
    assert (trace.total_s, trace.calls[0].duration_s, faults) == (None, None, [])


def test_a_bad_row_is_told_and_the_rest_is_read(workspace, foreign):
    Path("rows.jsonl").write_text("\n".join(["{", "[]", json.dumps({"spans": 1}), json.dumps(foreign)]))
    traces, faults = read("rows.jsonl")
    assert len(traces) == 1
    assert [line.split(":")[1] for line in faults] == [" line 1", " line 2", " line 3"]
    assert "spans is no list" in faults[2]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere", "nowhere: no run, no file"),
        ("odd.parquet", "odd.parquet: not a parquet file"),
        ("other.parquet", "neither AgentTrace's parquet"),
        ("empty", "neither a run directory nor a folder"),
    ],
)
def test_a_target_that_holds_no_traces_is_named(workspace, target, said):
    Path("odd.parquet").write_text("no parquet")
    pq.write_table(pa.table({"a": [1]}), "other.parquet")
    Path("empty").mkdir()
    with pytest.raises(ValueError, match=said):
        read(target)
