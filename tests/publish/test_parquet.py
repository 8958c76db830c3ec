from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_agentcap.conversation.sources import Faults, read_run_directory
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.frames import REQUEST, RESPONSE, SESSION, encode_frame
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.pairs import PairMaker
from pytest_agentcap.runs.results import SessionResult, save_result

AGENTCAP_COLUMNS = """
request_id model captured_at task_id turn request response served_by served_build_info served_model provider
upstream_url label run_id
"""
ADDED_COLUMNS = """
agent agent_version corpus session trial attempt call_index api path query stream status_code complete error
started_at_ns first_byte_ms duration_ms request_bytes response_bytes prompt_tokens completion_tokens verdict
request_headers response_headers chunk_ms redacted telemetry chunk_bytes replayed_from reissued_from
"""
EMPTY_FOLDER = {"run.json", "captures", "sessions", "results"}


@pytest.fixture
def run(tmp_path):
    """A run directory with a manifest and no calls."""
    run = RunDirectory(tmp_path / "pi-local-20250101-000000")
    for place in (run.captures, run.sessions, run.results):
        place.mkdir(parents=True)
    facts = {"agent": "pi", "model": "org/m@main", "provider": "local", "label": "blue", "tasks": []}
    run.manifest.write_text(json.dumps(facts))
    return run


def add_session(run: RunDirectory, task: str, *, index: int = 1, trial: int = 1, attempt: int = 1, **more: Any) -> Any:
    """Begin a session and return a function that adds a call to it; its pairs are made at once."""
    session = f"{task}-t{trial}-a{attempt}"
    journal = run.journal(session)
    head = {"task_id": task, "session": session, "corpus": "shop", "trial": trial, "attempt": attempt, **more}
    journal.write_bytes(b"".join(encode_frame(SESSION, head)))
    result = SessionResult(
        session=session, task_id=task, index=index, corpus="shop", source="tasks.txt:1", trial=trial, attempt=attempt,
        agent="pi", agent_version="0.9", model="org/m", sandbox="host", nodeid="n", prompt=f"please\n do {task}",
        started_at=1.0, verdict="passed",
    )  # fmt: skip
    save_result(run, result)
    pairs = PairMaker(journal, run.captures)

    def add_call(request: bytes, response: bytes | None = b"{}", *, call_index: int = 1, **facts: Any) -> str:
        rid = facts.pop("rid", None) or uuid4().hex
        asked = {
            "request_id": rid, "turn": 1, "call_index": call_index, "api": "chat", "method": "POST",
            "path": "/v1/chat/completions", "query": "", "upstream_url": "http://u", "request_bytes": len(request),
            "request_headers": [["user-agent", "pi"]], "started_at_ns": 7_000_000_000 + call_index,
        }  # fmt: skip
        kind = facts.pop("content_type", "application/json")
        asked |= {key: facts.pop(key) for key in list(facts) if key in asked}
        with journal.open("ab") as file:
            file.write(b"".join(encode_frame(REQUEST, asked, request)))
            if response is not None:
                told = {
                    "request_id": rid, "status_code": 200, "response_headers": [["content-type", kind]],
                    "ended_at_ns": 9_000_000_000, "first_byte_ms": 1.5, "duration_ms": 2.0, "chunk_ms": [1.5, 2],
                    "response_bytes": len(response), "complete": True, "error": None,
                }  # fmt: skip
                file.write(b"".join(encode_frame(RESPONSE, told | facts, response)))
        pairs.advance()
        return rid

    return add_call


def rows_of(run: RunDirectory) -> list[dict[str, Any]]:
    return pq.read_table(run.parquet).to_pylist()


def footer_of(run: RunDirectory) -> dict[str, str]:
    found = pq.ParquetFile(run.parquet).metadata.metadata
    return {key.decode(): value.decode() for key, value in found.items() if key != b"ARROW:schema"}


def test_columns_are_agentcaps_in_order_and_then_the_added_ones(run):
    write_parquet(run)
    schema = pq.read_schema(run.parquet)
    assert schema.names == (AGENTCAP_COLUMNS + ADDED_COLUMNS).split()
    assert schema.field("captured_at").type == schema.field("turn").type == pa.int64()
    assert schema.field("chunk_ms").type.value_type == pa.float64()
    assert schema.field("request").type == schema.field("response_headers").type == pa.string()


def test_a_row_holds_all_that_is_known_of_its_call(run):
    request = b' {"model":"org/m@v2","messages":[],"n":1e400,"messages":[]} '
    response = b'{"model":"m-served","usage":{"prompt_tokens":5,"completion_tokens":7}}'
    rid = add_session(run, "buy", agent="pi")(request, response)
    report = write_parquet(run)
    (row,) = rows_of(run)
    assert (report.rows, report.errors, report.bytes) == (1, (), run.parquet.stat().st_size)
    assert row == {
        "request_id": rid, "model": "org/m", "captured_at": 7, "task_id": "buy", "turn": 1,
        "request": request.decode(), "response": response.decode(),
        "served_by": None, "served_build_info": None, "served_model": "m-served", "provider": "local",
        "upstream_url": "http://u", "label": "blue", "run_id": run.id, "agent": "pi", "agent_version": "0.9",
        "corpus": "shop", "session": "buy-t1-a1", "trial": 1, "attempt": 1, "call_index": 1, "api": "chat",
        "path": "/v1/chat/completions", "query": "", "stream": False, "status_code": 200, "complete": True,
        "error": None, "started_at_ns": 7_000_000_001, "first_byte_ms": 1.5, "duration_ms": 2.0,
        "request_bytes": len(request), "response_bytes": len(response), "prompt_tokens": 5, "completion_tokens": 7,
        "verdict": "passed", "request_headers": '[["user-agent","pi"]]',
        "response_headers": '[["content-type","application/json"]]', "chunk_ms": [1.5, 2.0], "redacted": 0,
        "telemetry": None,
        "chunk_bytes": None, "replayed_from": None, "reissued_from": None,
    }  # fmt: skip


def test_a_streamed_response_is_its_raw_text_in_agentcaps_wrapper(run):
    wire = 'data: {"usage":{"prompt_tokens":1,"completion_tokens":2},"é":"\u2028"}\r\n\r\ndata: [DONE]\n\n'
    add_session(run, "buy")(b"{}", wire.encode(), content_type="text/event-stream")
    write_parquet(run)
    (row,) = rows_of(run)
    assert row["response"].startswith('{"stream":true,"raw":"')
    assert json.loads(row["response"]) == {"stream": True, "raw": wire}
    assert (row["stream"], row["prompt_tokens"], row["completion_tokens"]) == (True, 1, 2)


def test_a_call_without_response_has_an_empty_one_and_unknown_figures(run):
    add_session(run, "buy")(b'{"model":"m"}', None)
    assert write_parquet(run).errors == ()
    (row,) = rows_of(run)
    unknown = (
        "stream",
        "status_code",
        "complete",
        "error",
        "first_byte_ms",
        "duration_ms",
        "response_bytes",
        "chunk_ms",
    )
    assert row["response"] == "{}"
    assert [row[name] for name in (*unknown, "prompt_tokens", "completion_tokens")] == [None] * 10


def test_bodies_with_lone_surrogates_pass_and_heads_with_them_are_escaped(run):
    request = rb'{"model":"a\ud83d","messages":["\ud83d"]}'
    add_session(run, "buy")(request, request, query="\ud83d", error="\udc00")
    assert write_parquet(run).errors == ()
    (row,) = rows_of(run)
    assert (row["request"], row["response"]) == (request.decode(), request.decode())
    assert (row["model"], row["query"], row["error"]) == ("a\\ud83d", "\\ud83d", "\\udc00")


def test_bodies_that_are_no_json_are_wrapped_as_agentcap_does(run):
    add_session(run, "buy")(b"\xffno json", b"<html>")
    write_parquet(run)
    (row,) = rows_of(run)
    assert json.loads(row["request"]) == {"_unparsed_raw": "\ufffdno json"}
    assert json.loads(row["response"]) == {"_unparsed_raw": "<html>"}


@pytest.mark.parametrize(
    ("request_body", "path", "model"),
    [
        (b'{"model":"a/b@rev"}', "/v1/chat/completions", "a/b"),
        (b'{"model":"a@refs/pr/1"}', "/v1/chat/completions", "a"),
        (b'{"model":"@cf/meta/llama"}', "/v1/chat/completions", "@cf/meta/llama"),
        (b'{"messages":[{"model":"inner"}],"model":"outer"}', "/v1/chat/completions", "outer"),
        (b'{"model":"first","tools":[{"model":"inner"}]}', "/v1/chat/completions", "first"),
        (b'{"model":"first","model":"last"}', "/v1/chat/completions", "last"),
        (b'{"contents":[]}', "/v1beta/models/gemini-x:streamGenerateContent", "gemini-x"),
        (b'{"tools":[{"model":"inner"}]}', "/v1/chat/completions", "org/m"),
        (b'{"model":5}', "/v1/chat/completions", "org/m"),
        (b'[{"model":"x"}]', "/v1/chat/completions", "org/m"),
        (b"", "/v1/chat/completions", "org/m"),
    ],
)
def test_the_model_is_the_one_that_was_asked_for_without_its_revision(run, request_body, path, model):
    add_session(run, "buy")(request_body, path=path)
    write_parquet(run)
    assert rows_of(run)[0]["model"] == model


def test_a_model_that_nobody_knows_is_empty_and_not_null(run):
    run.manifest.unlink()
    add_session(run, "buy")(b"{}")
    write_parquet(run)
    assert rows_of(run)[0]["model"] == ""


def test_rows_are_in_the_order_of_task_trial_attempt_and_call(run):
    late = add_session(run, "a-late", index=12)
    early = {
        (trial, n): add_session(run, "z-early", index=3, trial=trial, attempt=n) for trial in (2, 1) for n in (2, 1)
    }
    unknown = add_session(run, "nowhere", index=0)
    run.result("nowhere-t1-a1").unlink()
    for call_index in (11, 2):
        for add_call in (unknown, late, *early.values()):
            add_call(b"{}", call_index=call_index)
    write_parquet(run)
    told = [(row["task_id"], row["trial"], row["attempt"], row["call_index"]) for row in rows_of(run)]
    sessions = [
        ("z-early", 1, 1),
        ("z-early", 1, 2),
        ("z-early", 2, 1),
        ("z-early", 2, 2),
        ("a-late", 1, 1),
        ("nowhere", 1, 1),
    ]
    assert told == [(*session, call_index) for session in sessions for call_index in (2, 11)]


def test_the_footer_tells_run_agent_model_and_tasks(run):
    add_session(run, "two", index=2)(b"{}", turn=4)
    add_session(run, "one", index=1)(b"{}")
    long = json.dumps({"messages": [{"role": "system"}, {"role": "user", "content": [{"text": "x" * 300}]}]}).encode()
    add_session(run, "unrecorded", index=3)(long)
    run.result("unrecorded-t1-a1").unlink()
    write_parquet(run)
    footer = footer_of(run)
    assert json.loads(footer.pop("tasks")) == [
        {"id": "one", "turns": 1, "prompt": "please do one"},
        {"id": "two", "turns": 4, "prompt": "please do two"},
        {"id": "unrecorded", "turns": 1, "prompt": "x" * 200},
    ]
    assert footer.pop("agentcap_version")
    assert json.loads(footer.pop("agentcap_summary"))["calls"] == 3
    assert set(json.loads(footer.pop("agentcap_circumstances"))[run.id]) == {"corpora", "fixtures", "sampling"}
    assert footer == {"agent": "pi", "model": "org/m", "run_id": run.id}


def test_the_schema_is_the_same_whatever_the_rows_hold(run, tmp_path):
    add_session(run, "buy")(b'{"model":"m"}', b'{"usage":{"prompt_tokens":5}}')
    other = RunDirectory(tmp_path / "empty")
    other.captures.mkdir(parents=True)
    assert write_parquet(other).rows == 0
    write_parquet(run)
    assert pq.read_schema(run.parquet).equals(pq.read_schema(other.parquet), check_metadata=True)


def test_columns_are_encoded_for_what_they_hold(run):
    add_session(run, "buy")(b'{"model":"m"}', b"{}")
    write_parquet(run)
    group = pq.ParquetFile(run.parquet).metadata.row_group(0)
    columns = {group.column(n).path_in_schema.partition(".")[0]: group.column(n) for n in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert all(column.has_offset_index for column in columns.values())
    large = {"request", "response", "request_headers", "response_headers", "chunk_ms", "telemetry", "chunk_bytes"}
    assert {name for name, column in columns.items() if not column.is_stats_set} == large
    assert "RLE_DICTIONARY" in columns["task_id"].encodings
    assert not any("DICTIONARY" in encoding for name in large for encoding in columns[name].encodings)


def test_a_broken_response_leaves_its_row_and_a_broken_request_none(run):
    add_call = add_session(run, "buy")
    good, no_response, no_request, damaged, cut = (add_call(b'{"model":"m"}', call_index=n) for n in range(1, 6))
    response = run.captures / f"{no_response}.response.json"
    response.write_bytes(response.read_bytes()[:-30])
    (run.captures / f"{no_request}.request.json").write_text("5")
    request = run.captures / f"{damaged}.request.json"
    request.write_bytes(request.read_bytes().replace(b'"m"}', b'"\xff"}'))
    (run.captures / f"{cut}.request.json").write_text("{}")
    orphan = run.captures / f"{'0' * 32}.response.json"
    orphan.write_text("{}")
    (run.captures / "notes.request.json").write_text("not a capture")
    report = write_parquet(run)
    rows = rows_of(run)
    assert [row["request_id"] for row in rows] == [good, no_response]
    assert (rows[1]["response"], rows[1]["error"], rows[1]["status_code"]) == ("{}", "unreadable_response", None)
    assert report.rows == 2
    broken = {response.name, f"{no_request}.request.json", request.name, f"{cut}.request.json", orphan.name}
    assert {Path(line.partition(":")[0]).name for line in report.errors} == broken
    assert len(report.errors) == 5


def test_broken_results_and_manifest_are_reported_and_stop_nothing(run):
    add_session(run, "buy")(b"{}")
    run.manifest.write_text("[")
    run.result("buy-t1-a1").write_text("{}")
    report = write_parquet(run)
    assert [row["verdict"] for row in rows_of(run)] == [None]
    assert [line.partition(": ")[2].partition(":")[0] for line in report.errors] == [
        "not a result file",
        "not a run manifest",
    ]


def test_odd_types_in_a_head_are_null(run):
    head = {"request_id": "a" * 32, "captured_at": "now", "turn": True, "trial": 2**70, "task_id": 5, "body": {}}
    (run.captures / f"{'a' * 32}.request.json").write_text(json.dumps(head))
    told = {"stream": "no", "status_code": 200.5, "chunk_ms": [1, "x"], "upstream_fingerprint": [], "body": {}}
    (run.captures / f"{'a' * 32}.response.json").write_text(json.dumps(told))
    assert write_parquet(run).errors == ()
    (row,) = rows_of(run)
    names = ("captured_at", "turn", "trial", "task_id", "stream", "status_code", "chunk_ms", "served_by")
    assert [row[name] for name in names] == [None] * 8


def test_agentcaps_own_run_directories_are_exported(tmp_path):
    run = RunDirectory(tmp_path / "hermes-hf-router-20250601-101112")
    run.captures.mkdir(parents=True)
    task = {"task_id": "task_01", "prompt": "fix it", "session_id": None, "completed_turns": 1, "turns": []}
    facts = {"agent": "hermes", "model": "org/m", "provider": "hf-router", "turns_per_task": 1, "tasks": [task]}
    run.manifest.write_text(json.dumps(facts, indent=2))
    calls = [("f" * 32, "task_01", 1, 100), ("0" * 32, "task_02", 1, 50), ("1" * 32, "task_01", 2, 102)]
    for rid, task_id, turn, second in calls:
        body = {"model": "org/m@rev", "messages": [{"role": "user", "content": "do\nit \ud83d"}]}
        asked = {"request_id": rid, "captured_at": second, "upstream_url": "http://u", "task_id": task_id, "turn": turn}
        (run.captures / f"{rid}.request.json").write_text(json.dumps({**asked, "body": body}, indent=2))
    told = {"request_id": "f" * 32, "captured_at_resp": 101, "stream": True, "status_code": 200}
    raw = 'data: {"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
    served = {"x_served_by": "vllm", "build_info": "b1", "served_model": "org/m-fp8"}
    record = {**told, "raw": raw, "upstream_fingerprint": served}
    (run.captures / f"{'f' * 32}.response.json").write_text(json.dumps(record, indent=2))
    assert write_parquet(run).errors == ()
    rows = rows_of(run)
    assert [row["request_id"] for row in rows] == ["f" * 32, "1" * 32, "0" * 32]
    first = rows[0]
    assert (first["model"], first["provider"], first["agent"], first["api"]) == ("org/m", "hf-router", "hermes", "chat")
    assert (first["served_by"], first["served_build_info"], first["served_model"]) == ("vllm", "b1", "org/m-fp8")
    assert (first["prompt_tokens"], first["completion_tokens"], first["status_code"]) == (3, 4, 200)
    assert json.loads(first["response"]) == {"stream": True, "raw": raw}
    assert json.loads(first["request"])["messages"][0]["content"] == "do\nit \ud83d"
    assert json.loads(footer_of(run)["tasks"]) == [
        {"id": "task_01", "turns": 2, "prompt": "fix it"},
        {"id": "task_02", "turns": 1, "prompt": "do it \ud83d"},
    ]


def test_the_provider_of_a_run_that_does_not_name_it_is_its_upstreams(run):
    head = {"request_id": "a" * 32, "upstream_url": "https://router.huggingface.co"}
    record = {**head, "body": {"model": "org/m:groq"}}
    (run.captures / f"{'a' * 32}.request.json").write_text(json.dumps(record))
    run.manifest.write_text(json.dumps({"agent": "pi", "tasks": []}))
    write_parquet(run)
    assert [row["provider"] for row in rows_of(run)] == ["hf-router/groq"]
    [conversation] = read_run_directory(run, Faults())
    assert conversation.calls[0].record.facts["provider"] == "hf-router/groq"


def test_calls_of_one_second_in_agentcaps_runs_come_as_the_conversation_grew(run):
    for rid, messages in (("a" * 32, 3), ("b" * 32, 1), ("c" * 32, 2)):
        head = {"request_id": rid, "captured_at": 1, "task_id": "task_01", "turn": 1}
        (run.captures / f"{rid}.request.json").write_text(json.dumps({**head, "body": {"messages": ["m"] * messages}}))
    write_parquet(run)
    assert [row["request_id"][0] for row in rows_of(run)] == ["b", "c", "a"]


def test_progress_is_told_for_every_call(run):
    add_call = add_session(run, "buy")
    for n in range(3):
        add_call(b"{}", call_index=n)
    told: list[tuple[int, int]] = []
    write_parquet(run, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_second_export_replaces_the_first(run):
    add_call = add_session(run, "buy")
    add_call(b"{}")
    write_parquet(run)
    add_call(b"{}", call_index=2)
    assert write_parquet(run).rows == len(rows_of(run)) == 2


def test_an_export_that_breaks_leaves_nothing_and_keeps_the_last_file(run):
    add_session(run, "buy")(b"{}")
    write_parquet(run)
    before = run.parquet.read_bytes()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parquet(run, progress=interrupt)
    assert run.parquet.read_bytes() == before
    assert {path.name for path in run.path.iterdir()} == EMPTY_FOLDER | {"captures.parquet"}


BIG_EXPORT = """
import re, sys
from pathlib import Path
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory
assert write_parquet(RunDirectory(Path(sys.argv[1]))).rows == 400
# Not ru_maxrss, which also counts the process that this one was started from.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to tell one process's own peak")
def test_a_large_run_is_written_in_bounded_memory_and_row_groups(run):
    for session in range(4):
        add_call = add_session(run, f"task-{session}", index=session)
        text = os.urandom(250_000).hex()
        for n in range(100):
            body = b'{"model":"m","messages":["%s","%d"]}' % (text.encode(), n)
            add_call(body, None, call_index=n)
    done = subprocess.run(
        [sys.executable, "-c", BIG_EXPORT, str(run.path)], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert int(done.stdout) < 400
    metadata = pq.ParquetFile(run.parquet).metadata
    groups = [metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)]
    assert len(groups) > 5
    assert max(groups) < 34 << 20
    assert run.parquet.stat().st_size < 8_000_000
