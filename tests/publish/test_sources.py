"""What can be published: runs of every agent, agentcap's own, and parquet files."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counting_scanner import Counting
from huggingface_hub import HfApi
from local_hub import FINE
from secret_rule import LIVE

from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.gate import GateOptions, SecretGate
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.publish.publisher import check_destination, publish_runs
from pytest_agentcap.publish.push import PushOptions
from pytest_agentcap.publish.remote import Hub, PushError
from pytest_agentcap.publish.schema import SCHEMA
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.masking import placeholder_of

PLACE = Destination("me", "demo")
AGENTCAPS_COLUMNS = (
    *("request_id", "model", "captured_at", "task_id", "turn", "request", "response"),
    *("served_by", "served_build_info", "served_model", "provider", "upstream_url", "run_id"),
)

# The Hub's client warns of a part of its own.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")


@pytest.fixture
def push(hub, client):
    def publish(*sources, scanner=None, redact=False, **options):
        said: list[str] = []
        gate = SecretGate(scanner, GateOptions(redact=redact), said.append) if scanner else None
        publish_runs(sources, PLACE, PushOptions(**options), gate, said.append, hub=client)
        return said

    return publish


def tables(hub):
    files = hub.files("me/demo-captures")
    return [pq.read_table(io.BytesIO(content)) for path, content in sorted(files.items()) if path.endswith(".parquet")]


@pytest.mark.parametrize("agent", ["claude", "codex", "pi"])
def test_the_log_that_the_viewer_knows_is_published_as_it_is(push, hub, leaky_run, agent):
    leaky_run.manifest.write_text(json.dumps({"agent": agent, "model": "org/m", "provider": "local", "tasks": []}))
    log = b'{"type": "user", "odd":  1e400}\n{"type": "assistant"}\n'
    folder = leaky_run.trace("buy")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/one.jsonl").write_bytes(log)
    (folder / "notes.txt").write_text("no log")
    push(leaky_run)
    files = hub.files(f"me/demo-{agent}-traces")
    assert {path: content for path, content in files.items() if path.startswith("data/")} == {
        f"data/{leaky_run.id}/buy.jsonl": log
    }
    assert f"| {agent}'s own | 1 |" in files["README.md"].decode()
    (folder / "two.jsonl").write_bytes(log)
    push(leaky_run)
    paths = set(hub.files(f"me/demo-{agent}-traces"))
    assert {f"data/{leaky_run.id}/buy/deep/one.jsonl", f"data/{leaky_run.id}/buy/two.jsonl"} < paths


def test_other_agents_get_traces_that_are_made_from_their_calls(push, hub, leaky_run):
    leaky_run.manifest.write_text(json.dumps({"agent": "goose", "model": "org/m", "provider": "local", "tasks": []}))
    leaky_run.trace("buy").mkdir(parents=True)
    (leaky_run.trace("buy") / "own.jsonl").write_text("{}\n")
    push(leaky_run)
    trace = hub.files("me/demo-goose-traces")[f"data/{leaky_run.id}/buy.jsonl"]
    header, *messages = map(json.loads, trace.splitlines())
    assert header["type"] == "session"
    assert [line["message"]["role"] for line in messages][:2] == ["user", "assistant"]


@pytest.fixture
def agentcap_run(tmp_path) -> RunDirectory:
    """A run directory as agentcap itself leaves it."""
    run = RunDirectory(tmp_path / "hermes-hf-router-20250601-101112")
    run.captures.mkdir(parents=True)
    for number in (1, 2):
        rid = f"{number:032x}"
        asked = {"model": "org/m", "messages": [{"role": "user", "content": f"task {number}"}]}
        answer = {"model": "served", "choices": [{"message": {"role": "assistant", "content": "done"}}]}
        request = {
            "request_id": rid, "captured_at": 1_748_772_672 + number, "upstream_url": "https://host/v1",
            "task_id": f"task_{number:02d}", "turn": 1, "body": asked,
        }  # fmt: skip
        response = {"request_id": rid, "captured_at_resp": 1_748_772_680, "stream": False, "status_code": 200}
        fingerprint = {"served_model": "served"}
        (run.captures / f"{rid}.request.json").write_text(json.dumps(request, indent=2))
        whole = {**response, "body": answer, "upstream_fingerprint": fingerprint}
        (run.captures / f"{rid}.response.json").write_text(json.dumps(whole, indent=2))
    tasks = [{"task_id": "task_01", "prompt": "task 1", "completed_turns": 1, "turns": []}]
    manifest = {
        "agent": "hermes",
        "model": "org/m",
        "provider": "hf-router",
        "upstream": "https://host",
        "tasks": tasks,
    }
    run.manifest.write_text(json.dumps(manifest))
    (run.path / "scan.json").write_text('{"scanned_at": 1, "no_verification": false, "verified": [], "unverified": []}')
    return run


def test_a_run_of_agentcap_itself_is_scanned_and_published(push, hub, agentcap_run):
    scanner = Counting()
    push(agentcap_run, scanner=scanner)
    assert scanner.asked == 1, "what agentcap said of the scan says nothing of what was scanned"
    [table] = tables(hub)
    assert table["task_id"].to_pylist() == ["task_01", "task_02"]
    assert len([path for path in hub.files("me/demo-hermes-traces") if path.startswith("data/")]) == 2


def test_the_logs_of_a_run_of_agentcap_with_pi_are_published_as_they_are(push, hub, agentcap_run):
    agentcap_run.manifest.write_text(json.dumps({"agent": "pi", "model": "org/m", "provider": "local", "tasks": []}))
    log = b'{"type": "session", "id": "a"}\n'
    (agentcap_run.path / "traces").mkdir()
    (agentcap_run.path / "traces/2025-06-01_a.jsonl").write_bytes(log)
    (agentcap_run.path / "traces/link.jsonl").symlink_to("/etc/passwd")
    push(agentcap_run)
    files = hub.files("me/demo-pi-traces").items()
    name = f"data/{agentcap_run.id}/2025-06-01_a.jsonl"
    assert {path: content for path, content in files if path.startswith("data/")} == {name: log}


@pytest.fixture
def agentcap_parquet(agentcap_run, tmp_path):
    """A parquet with agentcap's columns and footer, and none of ours."""
    table = pq.read_table(write_parquet(agentcap_run, tmp_path / "ours.parquet").path).select(AGENTCAPS_COLUMNS)
    tasks = json.dumps([{"id": "task_01", "turns": 1, "prompt": "task 1"}])
    path = tmp_path / "train-hermes-m-hf-router-20250601T101112-abcdef.parquet"
    pq.write_table(table.replace_schema_metadata({"agent": "hermes", "model": "org/m", "tasks": tasks}), path)
    return path


def test_a_parquet_of_agentcap_is_published_with_its_rows_and_columns(push, hub, agentcap_parquet):
    push(agentcap_parquet, scanner=Counting())
    [path] = [path for path in hub.files("me/demo-captures") if path.endswith(".parquet")]
    assert path.startswith("data/train-hermes-m-hf-router-20250601T101112-")
    [table] = tables(hub)
    assert table.select(AGENTCAPS_COLUMNS).equals(pq.read_table(agentcap_parquet))
    assert table.schema.remove_metadata() == SCHEMA
    told = pq.read_metadata(io.BytesIO(hub.files("me/demo-captures")[path])).metadata
    assert (told[b"agent"], json.loads(told[b"tasks"])[0]["id"]) == (b"hermes", "task_01")
    assert set(table["agent"].to_pylist()) == {"hermes"}, "what the footer tells stands in every row"
    assert len([path for path in hub.files("me/demo-hermes-traces") if path.startswith("data/")]) == 2
    assert "- counting 1: 0 verified" in hub.files("me/demo-captures")["README.md"].decode()


def test_columns_of_other_makers_are_named_and_left_out(push, hub, agentcap_parquet):
    table = pq.read_table(agentcap_parquet)
    pq.write_table(table.append_column("mine", table["model"]), agentcap_parquet)
    assert f"{agentcap_parquet}: its column mine is not published" in push(agentcap_parquet)
    assert tables(hub)[0].schema.remove_metadata() == SCHEMA


def test_a_parquet_that_was_pushed_before_is_not_pushed_again(push, hub, leaky_run):
    path = write_parquet(leaky_run).path
    push(path)
    assert "me/demo-captures: nothing new" in push(path)
    assert len(tables(hub)) == 1


def test_the_gate_looks_into_a_parquet_too(push, hub, leaky_run):
    path = write_parquet(leaky_run).path
    scanner = Counting((LIVE, True, False))
    with pytest.raises(PushError, match=r"captures\.parquet response \(call 0000000000000001"):
        push(path, scanner=scanner)
    assert not hub.repos
    push(path, scanner=scanner, redact=True)
    [table] = tables(hub)
    text = json.dumps(table.to_pylist())
    assert LIVE not in text
    assert placeholder_of(LIVE) in text


def test_what_is_no_captures_parquet_is_refused(push, hub, tmp_path):
    for content in (None, pa.table({"a": [1]})):
        path = tmp_path / "some.parquet"
        path.write_bytes(b"nothing") if content is None else pq.write_table(content, path)
        with pytest.raises((PushError, ValueError), match=r"some\.parquet: not a (captures )?parquet"):
            push(path)
    assert not hub.repos


def test_a_parquet_of_the_scripted_model_is_not_published(push, leaky_run):
    leaky_run.manifest.write_text(json.dumps({"agent": "pi", "model": "m", "provider": "scripted"}))
    with pytest.raises(PushError, match="is of the scripted model server"):
        push(write_parquet(leaky_run).path)


@pytest.mark.parametrize(
    ("grants", "may"),
    [
        ([], False),
        ([{"entity": {"type": "user", "name": "me"}, "permissions": ["repo.content.read"]}], False),
        ([{"entity": {"type": "org", "name": "org"}, "permissions": ["repo.write"]}], False),
        ([{"entity": {"type": "user", "name": "me"}, "permissions": ["repo.write"]}], True),
        ([{"entity": {"type": "dataset", "name": "me/demo-captures"}, "permissions": ["repo.write"]}], True),
    ],
)
def test_a_fine_grained_token_must_be_one_that_writes_to_the_owner(hub, grants, may):
    hub.scoped = grants
    remote = Hub(HfApi(endpoint=hub.url, token=FINE))
    if may:
        check_destination(PLACE, remote)
    else:
        with pytest.raises(PushError, match="the fine-grained token may not write to me: give it write access"):
            check_destination(PLACE, remote)


PUSH = """
import sys
from pytest_agentcap.cli import main
raise SystemExit(main(["export", sys.argv[1], "--push", "me/demo", "--no-scan"]))
"""


def test_pushes_that_come_at_the_same_time_all_land(hub, new_session, tmp_path):
    runs = []
    for number in range(3):
        run = RunDirectory(tmp_path / f"pi-local-2026010{number + 1}-000000")
        session = new_session(f"task{number}")
        session.call([session.user(f"hello {number}")], session.says("hi"))
        session.save(run)
        runs.append(run)
    hub.fail(r"POST .*/commit/", 412, times=2, retry_after="0")
    pushes = [
        subprocess.Popen([sys.executable, "-c", PUSH, str(run.path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for run in runs
    ]
    outputs = [push.communicate()[0].decode() for push in pushes]
    assert [push.returncode for push in pushes] == [0, 0, 0], outputs
    assert sorted(table["run_id"][0].as_py() for table in tables(hub)) == [run.id for run in runs]
    traces = [path for path in hub.files("me/demo-pi-traces") if path.startswith("data/")]
    assert len(traces) == 3
    card = hub.files("me/demo-captures")["README.md"].decode()
    assert "| pi | ? | org/m | local | 3 | 3 | 3 |" in card
    [collection] = hub.collections.values()
    assert len(collection["items"]) == 2
