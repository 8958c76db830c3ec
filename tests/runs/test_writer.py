from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.runs.captures import Capture
from pytest_agentcap.runs.writer import PairWriter

RID = f"{1:032x}"
REQUEST = {
    "request_id": RID,
    "turn": 1,
    "call_index": 1,
    "api": "chat",
    "upstream_url": "http://u",
    "request_headers": [],
    "started_at_ns": 1_700_000_000_000_000_000,
}
RESPONSE = {
    "request_id": RID,
    "status_code": 200,
    "response_headers": [],
    "ended_at_ns": 1_700_000_001_000_000_000,
    "complete": True,
    "error": None,
}


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "a.journal", {"task_id": "a", "session": "a", "lease": "1" * 32})
    yield journal
    journal.close()


@pytest.fixture
def writer():
    writer = PairWriter(("a-very-secret-key",))
    yield writer
    writer.close()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def the_process(writer: PairWriter) -> psutil.Process:
    (found,) = [c for c in psutil.Process().children() if c.pid == writer._process.pid]
    return found


def test_pairs_are_made_while_the_session_runs_and_secrets_are_masked(journal, writer, tmp_path):
    writer.follow(journal.path, tmp_path)
    journal.request(REQUEST, b'["a-very-secret-key"]')
    wait_for(tmp_path / f"{RID}.request.json")
    assert b"a-very-secret-key" not in Capture(RID, tmp_path).request.text
    journal.response(RESPONSE, b"{}")
    wait_for(tmp_path / f"{RID}.response.json")
    assert journal.path.exists()

    writer.finish(journal.path, tmp_path)
    assert not journal.path.exists()


def test_a_journal_that_nobody_followed_is_finished_all_the_same(journal, writer, tmp_path):
    journal.request(REQUEST, b"{}")
    writer.finish(journal.path, tmp_path)
    assert Capture(RID, tmp_path).request.text == b"{}"


def test_pairs_that_cannot_be_written_are_an_error_and_the_journal_stays(journal, writer, tmp_path):
    journal.request(REQUEST, b"{}")
    with pytest.raises(OSError, match="absent"):
        writer.finish(journal.path, tmp_path / "absent")
    assert journal.path.exists()
    writer.finish(journal.path, tmp_path)
    assert not journal.path.exists()


def test_a_pairing_process_that_was_killed_loses_nothing(journal, writer, tmp_path):
    writer.follow(journal.path, tmp_path)
    process = the_process(writer)
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs([process], timeout=60)
    journal.request(REQUEST, b"{}")
    writer.follow(tmp_path / "other.journal", tmp_path)
    (tmp_path / f".{RID}.request.json.{process.pid}").write_bytes(b'{"request_id":"')
    writer.finish(journal.path, tmp_path)
    assert Capture(RID, tmp_path).request.text == b"{}"
    assert [path.name for path in tmp_path.iterdir()] == [f"{RID}.request.json"]


OWNER = """
import json, os, signal, sys
from pathlib import Path
from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.runs.writer import PairWriter

folder, session, request, chunk = json.loads(sys.argv[1])
writer = PairWriter(("a-very-secret-key",))
journal = Journal(Path(folder, "a.journal"), session)
writer.follow(journal.path, Path(folder))
journal.request(request, b'["a-very-secret-key"]')
journal.chunk(chunk, b'["a-very-secret-')
journal.chunk(chunk, b'key"')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_kill_9_of_its_owner_a_key_that_nobody_else_knows_is_masked(tmp_path):
    session = {"task_id": "a", "session": "a", "lease": "1" * 32}
    chunk = {"request_id": RID, "status_code": 200, "response_headers": [], "first_byte_ms": 1.5}
    subprocess.run([sys.executable, "-c", OWNER, json.dumps([str(tmp_path), session, REQUEST, chunk])], timeout=60)
    deadline = time.monotonic() + 60
    while (tmp_path / "a.journal").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert Capture(RID, tmp_path).response.head["error"] == "shutdown"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{RID}.request.json", f"{RID}.response.json"]
    for path in tmp_path.iterdir():
        assert b"a-very-secret-key" not in path.read_bytes()


def test_the_pairing_process_ends_with_its_owner(journal, tmp_path):
    writer = PairWriter()
    writer.follow(journal.path, tmp_path)
    journal.request(REQUEST, b"{}")
    process = the_process(writer)
    writer.close()
    assert not process.is_running()
    assert (tmp_path / f"{RID}.request.json").exists()
