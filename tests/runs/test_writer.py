from __future__ import annotations

import os
import signal
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
    writer.finish(journal.path, tmp_path)
    assert Capture(RID, tmp_path).request.text == b"{}"


def test_the_pairing_process_ends_with_its_owner(journal, tmp_path):
    writer = PairWriter()
    writer.follow(journal.path, tmp_path)
    journal.request(REQUEST, b"{}")
    process = the_process(writer)
    writer.close()
    assert not process.is_running()
    assert (tmp_path / f"{RID}.request.json").exists()
