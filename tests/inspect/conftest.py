from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory

HOSTILE = "\x1b]0;evil\x07\x1b[2J\ttab\nline\r\x00nul\u202egnp.exe \ud800"


@pytest.fixture
def run(workspace: Path, new_session: Any) -> RunDirectory:
    """A session of two calls that uses a tool, one that asks something else, and a second trial that was refused."""
    run = RunDirectory(workspace / ".agentcap" / "pi-local-1")
    session = new_session("buy")
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says("let me look", ("c1", {"command": "ls fridge"}))
    session.call(messages, asks, request_id="aaaa1" + "0" * 27)
    result = session.result("c1", f"eggs\n{HOSTILE}")
    session.call([*messages, asks, result], session.says("bought"), request_id="aaaa2" + "0" * 27)
    session.call([messages[0], session.user("make a title")], session.says("Milk"), tools=None, request_id="bbbb" * 8)
    session.save(run)
    again = new_session("buy-t2", trial=2, verdict="infra")
    again.call(messages, None, request_id="cccc" * 8)
    again.save(run)
    return run


@pytest.fixture
def parquet(run: RunDirectory) -> Path:
    write_parquet(run)
    return run.parquet


@pytest.fixture
def agentcap_run(workspace: Path) -> RunDirectory:
    """A run as agentcap itself left it: tasks by number, whole seconds, no field of ours."""
    run = RunDirectory(workspace / ".agentcap" / "hermes-local-20250101-000000")
    run.captures.mkdir(parents=True)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "list files"}]
    for number, rid in enumerate(("f" * 32, "0" * 32, "a" * 32)):
        asked = {
            "request_id": rid, "captured_at": 1_700_000_000, "upstream_url": "http://localhost:8000",
            "task_id": "task_01", "turn": 1, "body": {"model": "m", "messages": messages, "stream": True},
        }  # fmt: skip
        chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": f"answer {number}"}}]}
        raw = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        answered = {
            "request_id": rid, "captured_at_resp": 1_700_000_001, "stream": True, "status_code": 200, "raw": raw,
            "upstream_fingerprint": {"server": "llama.cpp", "x_served_by": None, "served_model": "m"},
        }  # fmt: skip
        (run.captures / f"{rid}.request.json").write_text(json.dumps(asked, indent=2))
        (run.captures / f"{rid}.response.json").write_text(json.dumps(answered, indent=2))
        messages = [
            *messages,
            {"role": "assistant", "content": f"answer {number}"},
            {"role": "user", "content": "go on"},
        ]
    turn = {"turn": 1, "returncode": 0, "duration_s": 1.5}
    task = {"task_id": "task_01", "prompt": "list files", "session_id": "s", "completed_turns": 1, "turns": [turn]}
    told = {"agent": "hermes", "model": "m", "provider": "local", "upstream": "http://localhost:8000"}
    run.manifest.write_text(
        json.dumps({**told, "turns_per_task": 1, "followup": "continue", "tasks": [task]}, indent=2)
    )
    return run


@pytest.fixture
def agentcap_parquet(agentcap_run: RunDirectory) -> Path:
    """That run as agentcap exported it: 13 columns, rows by request id, no status."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for path in sorted(agentcap_run.captures.glob("*.request.json")):
        asked = json.loads(path.read_bytes())
        answered = json.loads(Path(str(path).replace(".request.", ".response.")).read_bytes())
        rows.append(
            {
                "request_id": asked["request_id"], "model": "m", "captured_at": asked["captured_at"],
                "task_id": asked["task_id"], "turn": asked["turn"], "request": json.dumps(asked["body"]),
                "response": json.dumps({"stream": True, "raw": answered["raw"]}), "served_by": None,
                "served_build_info": None, "served_model": "m", "provider": "local",
                "upstream_url": asked["upstream_url"], "run_id": agentcap_run.id,
            }
        )  # fmt: skip
    tasks = json.dumps([{"id": "task_01", "turns": 1, "prompt": "list files"}])
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"agent": "hermes", "model": "m", "tasks": tasks})
    path = agentcap_run.path.parent.parent / "train-hermes-m-local-20250101T000000-abcdef.parquet"
    pq.write_table(table, path, compression="snappy")
    return path


@pytest.fixture
def hub(workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Hub with the dataset org/base-captures, which tests put files into by `add`."""
    import huggingface_hub
    from local_hub import READER, LocalHub, Repo

    class Filled(LocalHub):
        def add(self, name: str, content: bytes) -> None:
            self._put("org/base-captures", {name: self._keep(content)})

    with Filled(tmp_path_factory.mktemp("hub") / "state").serving() as served:
        served.repos["org/base-captures"] = Repo(private=True)
        # HF_ENDPOINT counts at the first import only, which may be long past.
        files = partial(huggingface_hub.HfFileSystem, endpoint=served.url, token=READER)
        monkeypatch.setattr("huggingface_hub.HfFileSystem", files)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf-home")))
        yield served
