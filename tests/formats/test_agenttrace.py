"""AgentTrace's rows, and its normalized parquet."""

from __future__ import annotations

import ast
import io
import json

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.conversation.session import read_conversation
from pytest_agentcap.conversation.sources import Faults, read_parquet, read_run_directory
from pytest_agentcap.formats.agenttrace import FILE, PARQUET, lines, row
from pytest_agentcap.formats.otlp import export_request
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import update_result

# What 0.3.0 has, in its order.
TRACE = ["trace_id", "timestamp_utc", "prompt", "model", "spans", "llm_steps", "total_duration_ms", "metadata"]
SPAN = [
    *("span_id", "type", "tool_name", "tool_input", "tool_output", "start_ns", "end_ns", "duration_ms", "telemetry"),
    *("exit_code", "parent_span_id"),
]
STEP = [
    *("step_id", "step_number", "model_output", "reasoning_content", "tool_calls", "duration_ms", "input_tokens"),
    "output_tokens",
]
TELEMETRY = {"user_time_s", "system_time_s", "max_rss_bytes", "read_bytes", "write_bytes"}
COLUMNS = [
    *("trace_id", "timestamp_utc", "prompt", "model", "dataset_name", "task_id", "run_id", "total_duration_ms"),
    *("tool_span_count", "llm_step_count", "spans_json", "llm_steps_json", "metadata_json", "raw_file"),
]


@pytest.fixture
def session(new_session):
    session = new_session()
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says("let me see", ("c1", {"command": "ls 'a b'"}), thinking="hm")
    session.call(messages, asks)
    session.call([*messages, asks, session.result("c1", "exit_code: 2\nno")], session.says("done"))
    return session


@pytest.fixture
def conversation(session):
    return read_conversation(session.records)


def test_a_row_has_the_keys_of_0_3_0_first_and_others_beside_them(conversation):
    told = row(conversation)
    assert list(told) == TRACE
    assert list(told["spans"][0])[: len(SPAN)] == SPAN
    assert list(told["llm_steps"][0])[: len(STEP)] == STEP
    assert TELEMETRY.issubset(told["spans"][0]["telemetry"])
    assert told["metadata"]["schema_version"] == "0.3.0"
    assert (told["prompt"], told["model"]) == ("buy milk", "org/m")
    assert told["timestamp_utc"] == "1970-01-01T00:00:01+00:00"
    assert (told["total_duration_ms"], told["metadata"]["duration_source"]) == (1500.0, "captures")


def test_a_tool_call_is_spelled_as_there_and_joined_to_its_step(conversation):
    told = row(conversation)
    (span,), (step, _) = told["spans"], told["llm_steps"]
    kind, _, spelled = span["tool_input"].partition("=")
    assert (kind, ast.literal_eval(spelled)) == ("kwargs", {"command": "ls 'a b'"})
    assert json.loads(span["arguments"]) == {"command": "ls 'a b'"}
    assert step["tool_calls"] == [{"name": "bash", "arguments": {"command": "ls 'a b'"}, "id": "c1"}]
    assert (span["step_id"], span["tool_call_id"]) == (step["step_id"], "c1")
    assert (span["exit_code"], span["exit_code_source"], span["timing"]) == (2, "text", "window")
    assert (span["start_ns"], span["end_ns"], span["duration_ms"]) == (1_500_000_000, 2_000_000_000, 500.0)
    assert (step["reasoning_content"], step["input_tokens"], step["output_tokens"]) == ("hm", 10, 1)


def test_what_nobody_measured_is_null(conversation):
    used = row(conversation)["spans"][0]["telemetry"]
    assert (used.pop("source"), used.pop("quality")) == ("none", "none")
    assert set(used.values()) == {None}


def test_a_session_that_was_measured_says_how_long_it_took(session, tmp_path):
    run = RunDirectory(tmp_path / "run")
    session.save(run)
    used = {"source": "taskstats", "quality": "exact", "wall_s": 9.5, "user_s": 1.0}
    update_result(run.result(session.name), telemetry={"calls": {}, "turns": [], "session": used, "coverage": 0.9})
    (conversation,) = read_run_directory(run, Faults())
    told = row(conversation)
    assert (told["total_duration_ms"], told["metadata"]["duration_source"]) == (9500.0, "session")
    assert told["metadata"]["telemetry"]["user_time_s"] == 1.0
    assert told["metadata"]["telemetry"]["coverage"] == 0.9


def test_a_row_says_with_which_machine_server_and_files_it_was_made(session, tmp_path):
    run = RunDirectory(tmp_path / "run")
    session.save(run)
    facts = {"machine": {"platform": "Linux-7", "cpus": 2}, "serving": {"model_hash": "m"}, "image": "i", "seed": 3}
    run.manifest.write_text(json.dumps({"agent": "pi", "model": "org/m", **facts}))
    update_result(run.result(session.name), fixtures={"/testdata": "d"})
    path = write_parquet(run).path
    for (conversation,) in (read_run_directory(run, Faults()), read_parquet(path, Faults())):
        told = row(conversation)["metadata"]
        assert (told["platform"], told["hardware"], told["serving"]) == ("Linux-7", {"cpus": 2}, {"model_hash": "m"})
        assert (told["image"], told["seed"], told["fixtures"]) == ("i", 3, {"/testdata": "d"})
        assert len(told["corpus_digest"]) == 64


def test_what_is_not_known_of_a_run_is_null(conversation):
    told = row(conversation)["metadata"]
    names = ("platform", "hardware", "serving", "image", "seed", "corpus_digest", "fixtures")
    assert [told[name] for name in names] == [None] * 7


def test_the_model_is_that_of_the_task_and_not_of_a_title(new_session):
    session = new_session()
    session.call([session.user("title for: buy milk")], session.says("Milk"), model="org/small", tools=[])
    session.call([session.SYSTEM, session.user("buy milk")], session.says("done"))
    assert row(read_conversation(session.records))["model"] == "org/m"


def test_the_trace_has_the_id_that_it_has_in_otlp(conversation):
    (span, *_) = export_request(conversation)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert row(conversation)["trace_id"] == span["traceId"]


def test_the_parquet_has_the_same_rows(conversation):
    jsonl, parquet = lines([conversation])
    assert (jsonl.file, parquet.file) == (FILE, PARQUET)
    table = pq.read_table(io.BytesIO(parquet.data))
    assert table.column_names[: len(COLUMNS)] == COLUMNS
    (flat,) = table.to_pylist()
    told = json.loads(jsonl.data)
    assert json.loads(flat["spans_json"]) == told["spans"]
    assert json.loads(flat["llm_steps_json"]) == told["llm_steps"]
    assert json.loads(flat["metadata_json"]) == told["metadata"]
    assert (flat["tool_span_count"], flat["llm_step_count"], flat["raw_file"]) == (1, 2, FILE)
    assert (flat["task_id"], flat["task"], flat["dataset_name"]) == (None, "buy", "shop")


def test_a_task_with_a_number_keeps_it_and_half_a_surrogate_pair_is_spelled_out(new_session):
    session = new_session(task_id="17")
    session.call([session.user("half \ud83d")], session.says("\ud83d"))
    _, parquet = lines([read_conversation(session.records)])
    (flat,) = pq.read_table(io.BytesIO(parquet.data)).to_pylist()
    assert (flat["task_id"], flat["task"]) == (17, "17")
    assert flat["prompt"] == "half \\ud83d"
    assert json.loads(flat["llm_steps_json"])[0]["model_output"] == "\ud83d"


def test_no_sessions_are_no_files():
    assert list(lines([])) == []
