"""When things arrive: at the agent, against the upstream's own stamps, and in the capture's times.

No test here says how long anything may take: orders are compared, and the paces of the two ends of one stream.
"""

from __future__ import annotations

import re
import statistics
import time
import zlib
from itertools import pairwise

import pytest

EVENTS = 24
PACE_S = 0.02
# What two clocks, one that is set and one that is not, may differ by meanwhile.
SLACK_NS = 5_000_000
SENT = re.compile(rb'"sent_ns":(\d+)')


def gaps(stamps: list[float]) -> list[float]:
    return [there - here for here, there in pairwise(stamps)]


def same_pace(ours: list[float], theirs: list[float]) -> bool:
    """Tell whether two series of stamps go as fast as each other, apart from some that a busy machine held back."""
    span = (ours[-1] - ours[0]) / (theirs[-1] - theirs[0])
    middle = statistics.median(gaps(ours)) / statistics.median(gaps(theirs))
    return 0.5 < span < 2 and 0.3 < middle < 3


def paced(visit, content_type: str, coding: str | None) -> None:
    headers = [("content-type", content_type), ("transfer-encoding", "chunked")]
    zipper = zlib.compressobj(wbits=31)
    visit.start(200, [*headers, *([("content-encoding", coding)] if coding else [])])
    for number in range(EVENTS):
        time.sleep(PACE_S)
        event = b'data: {"number":%d,"sent_ns":%d}\n\n' % (number, time.monotonic_ns())
        visit.chunk(zipper.compress(event) + zipper.flush(zlib.Z_SYNC_FLUSH) if coding else event)
    if coding:
        visit.chunk(zipper.flush())
    visit.end()


@pytest.mark.parametrize(
    ("path", "content_type", "coding"),
    [
        ("/v1/chat/completions", "text/event-stream", None),
        ("/v1/messages", "text/event-stream", "gzip"),
        ("/v1beta/models/g:streamGenerateContent", "application/json", None),
        ("/v1/not/recorded", "text/event-stream", None),
    ],
    ids=["events", "zipped events", "JSON", "not recorded"],
)
def test_events_arrive_at_the_pace_at_which_the_upstream_sent_them(
    station, agent, upstream, path, content_type, coding
):
    upstream.answer = lambda visit: paced(visit, content_type, coding)
    unzip = zlib.decompressobj(wbits=31).decompress if coding else bytes
    sent, arrived = [], []
    connection = agent.open(path)
    response = connection.getresponse()
    while data := response.read1(65536):
        now = time.monotonic_ns()
        stamps = [int(stamp) for stamp in SENT.findall(unzip(data))]
        sent += stamps
        arrived += [now] * len(stamps)
    connection.close()
    captures = station.end(agent)

    assert len(sent) == EVENTS
    assert all(here < there for here, there in zip(sent, arrived, strict=True))
    assert same_pace(arrived, sent)
    # Most events are here before the next one is sent: nothing waits for anything behind it.
    ahead = sum(here < following for here, following in zip(arrived, sent[1:], strict=False))
    assert ahead > EVENTS // 3
    for capture in captures:
        told = [offset * 1e6 for offset in capture.response.head["chunk_ms"]]
        assert len(told) > EVENTS // 2
        assert same_pace(told[:EVENTS], sent[: len(told)])


def test_a_capture_tells_when_each_part_of_a_call_was_there(station, agent, upstream, hear):
    stamps = {}

    def answer(visit):
        time.sleep(0.05)
        stamps["answered"] = time.time_ns()
        visit.start(200, [("content-length", "4")])
        visit.send(b"[1")
        time.sleep(0.05)
        stamps["finished"] = time.time_ns()
        visit.send(b"2]")

    upstream.answer = answer
    stamps["opened"] = time.time_ns()
    with agent.dial(agent.head("/v1/chat/completions", "content-length: 2") + b"{") as sock:
        time.sleep(0.05)
        stamps["complete"] = time.time_ns()
        sock.sendall(b"}")
        assert hear(sock).body == b"[12]"
    stamps["read"] = time.time_ns()
    [capture] = station.end(agent)
    request, response = capture.request.head, capture.response.head

    def at(offset_ms: float) -> float:
        return request["started_at_ns"] + offset_ms * 1e6

    points = [
        stamps["opened"],
        request["started_at_ns"],
        stamps["complete"],
        at(request["request_read_ms"]),
        at(response["connected_ms"]),
        stamps["answered"],
        at(response["first_byte_ms"]),
        stamps["finished"],
        at(response["chunk_ms"][-1]),
        at(response["duration_ms"]),
        response["ended_at_ns"],
        stamps["read"],
    ]
    assert all(here < there + SLACK_NS for here, there in pairwise(points))
    assert response["first_byte_ms"] == response["chunk_ms"][0]
    assert len(response["chunk_ms"]) == 2


def test_a_kept_connection_is_told_as_connected_before_its_answer(station, agent):
    agent.call()
    agent.call()
    captures = station.end(agent)
    for capture in captures:
        read, head = capture.request.head["request_read_ms"], capture.response.head
        assert 0 <= read <= head["connected_ms"] <= head["first_byte_ms"] <= head["duration_ms"]
