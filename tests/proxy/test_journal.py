from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat

import pytest

from pytest_agentcap.proxy.journal import Journal, JournalError
from pytest_agentcap.runs.frames import CHUNK, REQUEST, RESPONSE, SESSION, read_body, read_frames


@pytest.fixture
def path(tmp_path):
    return tmp_path / "task-1.journal"


@pytest.fixture
def journal(path):
    journal = Journal(path, {"task_id": "task-1"})
    yield journal
    journal.close()


def frames(path):
    with path.open("rb") as file:
        return [(frame.kind, frame.head, read_body(file, frame)) for frame in list(read_frames(file))]


def limit_file_size(limit):
    """Make the kernel refuse to let any file grow beyond `limit` bytes, as a disk that is full at that point."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_frames_are_in_the_file_when_the_write_returns(path, journal):
    journal.request({"request_id": "r"}, b"\xff{")
    journal.chunk({"request_id": "r"}, b"1")
    journal.response({"request_id": "r"}, b"")

    assert frames(path) == [
        (SESSION, {"task_id": "task-1"}, b""),
        (REQUEST, {"request_id": "r"}, b"\xff{"),
        (CHUNK, {"request_id": "r"}, b"1"),
        (RESPONSE, {"request_id": "r"}, b""),
    ]


def test_only_its_owner_may_read_it(path, journal):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_session_has_one_journal(path, journal):
    with pytest.raises(FileExistsError):
        Journal(path, {})
    assert frames(path) == [(SESSION, {"task_id": "task-1"}, b"")]


def test_its_lock_tells_that_it_is_being_written(path, journal):
    with path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        journal.close()
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_file_that_was_deleted_before_it_was_locked_is_made_again(path, monkeypatch):
    lock, deleted = fcntl.flock, []

    def delete_first(fd, operation):
        if not deleted:
            path.unlink()
            deleted.append(path)
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    journal = Journal(path, {"task_id": "task-1"})
    journal.request({}, b"body")
    journal.close()

    assert deleted
    assert frames(path)[1] == (REQUEST, {}, b"body")


@pytest.mark.parametrize("room", [0, 1, 12, 13, 20, 1000])
def test_a_frame_that_does_not_fit_is_taken_back(path, journal, room):
    journal.request({"n": 1}, b"whole")
    restore = limit_file_size(path.stat().st_size + room)
    try:
        with pytest.raises(JournalError, match=str(path)) as caught:
            journal.request({"n": 2}, b"x" * 5000)
    finally:
        restore()
    journal.response({"n": 3}, b"later")

    assert caught.value.errno == errno.EFBIG
    assert [head for _, head, _ in frames(path)] == [{"task_id": "task-1"}, {"n": 1}, {"n": 3}]


def test_a_journal_that_cannot_begin_leaves_neither_a_file_nor_a_descriptor(path, open_files):
    before = open_files()
    restore = limit_file_size(10)
    try:
        with pytest.raises(JournalError):
            Journal(path, {"task_id": "task-1"})
    finally:
        restore()

    assert not path.exists()
    assert open_files() == before


def test_a_closed_journal_takes_nothing(path, journal):
    journal.close()
    journal.close()
    # The number that it had may belong to another file by now.
    stranger = os.open(path.with_suffix(".other"), os.O_RDWR | os.O_CREAT)
    try:
        with pytest.raises(JournalError, match="ended"):
            journal.request({}, b"late")
        assert os.fstat(stranger).st_size == 0
    finally:
        os.close(stranger)


def test_a_write_that_the_kernel_splits_goes_on(path, journal, monkeypatch):
    monkeypatch.setattr(os, "writev", lambda fd, buffers: os.write(fd, b"".join(buffers)[:5]))
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:7]))

    journal.request({"n": 1}, b"body")

    assert frames(path)[1:] == [(REQUEST, {"n": 1}, b"body")]
