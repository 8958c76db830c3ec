"""Long frames: written in a thread, requests packed, and nothing of what the journal promises given up for it."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import threading

import pytest

from pytest_agentcap.proxy.journal import Journal, JournalError
from pytest_agentcap.runs.frames import CHUNK, REQUEST, RESPONSE, read_body, read_frames
from pytest_agentcap.runs.pairs import PairMaker

LONG = [random.Random(number).randbytes(150_000) for number in range(4)]


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "x.journal", {"task_id": "x"})
    yield made
    made.close()


@pytest.fixture
def slow_disk(monkeypatch):
    """Hold up each write in a thread until it is told to go on."""
    go_on, writev, main = threading.Event(), os.writev, threading.get_ident()

    def write(fd, buffers):
        if threading.get_ident() != main:
            assert go_on.wait(60)
        return writev(fd, buffers)

    monkeypatch.setattr("os.writev", write)
    return go_on


def recorded(journal):
    with journal.path.open("rb") as file:
        frames = list(read_frames(file))
        return [(frame.kind, frame.head.get("n"), read_body(file, frame)) for frame in frames[1:]]


def test_what_was_written_is_read_in_the_same_order_whatever_its_length(journal):
    frames = [
        (REQUEST, 0, [b"short"]),
        (REQUEST, 1, LONG),
        (CHUNK, 1, LONG[:2]),
        (RESPONSE, 1, LONG),
        (REQUEST, 2, [*LONG, b"and more"]),
        (REQUEST, 3, [bytes([number % 256]) * 100 for number in range(3000)]),
    ]

    async def write():
        for kind, number, pieces in frames:
            await journal.written(kind, {"n": number}, *pieces)

    asyncio.run(write())
    assert recorded(journal) == [(kind, number, b"".join(pieces)) for kind, number, pieces in frames]
    assert journal.size == journal.path.stat().st_size
    # The second of two requests with one history is next to nothing.
    assert journal.size < 1_800_000


def test_a_long_write_does_not_hold_up_the_event_loop_but_what_comes_after_it(journal, slow_disk):
    async def write():
        long = asyncio.ensure_future(journal.written(REQUEST, {"n": 1}, *LONG))
        await asyncio.sleep(0.05)
        short = asyncio.ensure_future(journal.written(RESPONSE, {"n": 2}, b"{}"))
        await asyncio.sleep(0.05)
        assert not long.done()
        assert not short.done()
        slow_disk.set()
        await asyncio.gather(long, short)

    asyncio.run(write())
    assert [number for _, number, _ in recorded(journal)] == [1, 2]


@pytest.mark.parametrize("body", [LONG, [b"{}"]], ids=["long", "short"])
def test_who_is_cancelled_while_it_writes_ends_when_the_frame_is_there(journal, slow_disk, body):
    async def write():
        first = asyncio.ensure_future(journal.written(REQUEST, {"n": 1}, *LONG))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(journal.written(RESPONSE, {"n": 2}, *body))
        await asyncio.sleep(0.05)
        first.cancel()
        second.cancel()
        await asyncio.sleep(0.05)
        assert not first.done()
        assert not second.done()
        slow_disk.set()
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(write())
    assert [number for _, number, _ in recorded(journal)] == [1, 2]


def test_a_long_request_that_does_not_fit_leaves_the_others_readable(journal, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    heads = [{"request_id": f"{number:032x}", "n": number} for number in range(4)]

    async def write():
        await journal.written(REQUEST, heads[0], *LONG)
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + 1000, hard))
        try:
            with pytest.raises(JournalError, match="cannot record"):
                await journal.written(REQUEST, heads[1], *reversed(LONG), os.urandom(100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await journal.written(REQUEST, heads[2], *LONG)
        await journal.written(REQUEST, heads[3], *LONG, b"more")

    asyncio.run(write())
    assert recorded(journal) == [
        (REQUEST, 0, b"".join(LONG)),
        (REQUEST, 2, b"".join(LONG)),
        (REQUEST, 3, b"".join(LONG) + b"more"),
    ]


def test_a_pair_that_could_not_be_written_is_made_from_a_packed_request_later(station, agent, upstream):
    bodies = [b'["' + b"x" * 100_000 + b'", %d]' % number for number in range(3)]
    for body in bodies:
        assert agent.call(body=body).body == body
    # A second reader from the start sees the same as the first, and one that had to stop goes on where it was.
    folder = station.captures / "elsewhere"
    pairs = PairMaker(agent.lease.journal.path, folder)
    with pytest.raises(FileNotFoundError):
        pairs.advance()
    folder.mkdir()
    pairs.advance()
    assert len(list(folder.iterdir())) == 6
    assert [capture.request.text for capture in station.end(agent)] == bodies
    for capture in folder.glob("*.request.json"):
        assert capture.read_bytes() == (station.captures / capture.name).read_bytes()
