"""Any bytes in are the bytes out and the bytes stored, however the network cuts them, over real sockets."""

from __future__ import annotations

import base64
import json
import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_agentcap.runs.verbatim import is_embeddable

HERE = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON_TEXTS = [
    b'{"z":1, "a":[1e400,-0,1.10,123456789012345678901234567890],"a":2}',
    b'{"lone":"\\ud800","pair":"\\ud83d\\ude00","text":"\xe6\xbc\xa2 \xf0\x9f\x98\x80"}',
    b' \n[{"role":"user"}, []]\t\n',
    b'"}\\u0000{"',
    b'1,"request_id":"evil"',
    b"NaN",
    b"\xef\xbb\xbf{}",
    b'{"broken": ',
]
BODIES = st.one_of(
    st.sampled_from(JSON_TEXTS),
    st.binary(max_size=300),
    st.text(st.characters(codec="utf-8"), max_size=80).map(lambda text: json.dumps(text, ensure_ascii=False).encode()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    ).map(lambda value: json.dumps(value, indent=1).encode()),
    # More than uvicorn's high-water mark, more than one spooled frame.
    st.integers(1, 700_000).map(lambda size: b'"' + b"0123456789\xff" * (size // 11) + b'"'),
)
EVENTS = st.lists(
    st.one_of(
        st.sampled_from([b": ping\n\n", b"data: [DONE]\n\n", b"event: x\r\ndata: {}\r\n\r\n", b"data: \xff\xfe\n\n"]),
        st.text(max_size=30).map(
            lambda text: b'data: {"choices":[{"delta":{"content":%b}}]}\n\n' % json.dumps(text).encode()
        ),
        st.binary(max_size=40),
    ),
    max_size=12,
).map(b"".join)
CUTS = st.lists(st.floats(0, 1), max_size=5)
# How a message says where it ends.
REQUEST_ENDS = st.sampled_from(["length", "chunks"])
ANSWER_ENDS = st.sampled_from(["length", "chunks", "connection"])


def cut(data: bytes, cuts: list[float]) -> list[bytes]:
    places = [0, *sorted(int(place * len(data)) for place in cuts), len(data)]
    return [data[here:there] for here, there in pairwise(places) if there > here]


def framed(pieces: list[bytes], ends: str) -> tuple[list[str], list[bytes]]:
    """Return the header lines that tell where a body ends, and its pieces as they go over the wire."""
    if ends == "length":
        return [f"content-length: {sum(map(len, pieces))}"], pieces
    if ends == "connection":
        return ["connection: close"], pieces
    return ["transfer-encoding: chunked"], [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]


def dribble(send, data: bytes, cuts: list[float]) -> None:
    """Send data in pieces that have nothing to do with what it means."""
    for piece in cut(data, cuts):
        send(piece)
        time.sleep(0)


def stored(half) -> bytes:
    """Return the exact bytes that a capture file holds, by the rules of `docs/files.md`."""
    for key in ("body_base64", "raw_base64"):
        if key in half.head:
            return base64.b64decode(half.head[key])
    return json.loads(half.text).encode() if half.key == "raw" else half.text


@pytest.fixture
def exchange(lasting, hear):
    """Send a request and an answer through the proxy in given pieces; return what arrived and what was stored."""
    station, upstream = lasting

    def run(request_body, answer_body, *, asked, told, request_cuts, answer_cuts, wire_cuts, content_type):
        def answer(visit):
            lines, pieces = framed(cut(answer_body, answer_cuts), told)
            head = "\r\n".join(["HTTP/1.1 200 OK", f"content-type: {content_type}", *lines, "", ""]).encode()
            dribble(visit.send, head + b"".join(pieces), wire_cuts)
            if told == "connection":
                visit.sock.shutdown(1)

        upstream.answer = answer
        upstream.visits.clear()
        agent = station.agent()
        lines, pieces = framed(cut(request_body, request_cuts), asked)
        request = agent.head("/v1/chat/completions", *lines) + b"".join(pieces)
        with agent.dial() as sock:
            dribble(sock.sendall, request, wire_cuts)
            got = hear(sock)
        [capture] = station.end(agent)
        [visit] = upstream.visits
        return visit, got, capture

    yield run
    upstream.disconnect()


@settings(HERE, max_examples=120)
@given(
    request_body=BODIES,
    answer_body=BODIES,
    asked=REQUEST_ENDS,
    told=ANSWER_ENDS,
    request_cuts=CUTS,
    answer_cuts=CUTS,
    wire_cuts=CUTS,
)
def test_any_bytes_in_are_the_bytes_out_and_the_bytes_stored(exchange, request_body, answer_body, **how):
    visit, got, capture = exchange(request_body, answer_body, content_type="application/json", **how)

    assert visit.body == stored(capture.request) == request_body
    assert got.body == stored(capture.response) == answer_body
    assert (got.broken, capture.response.head["complete"]) == (False, True)
    assert ("body_base64" in capture.request.head) is not is_embeddable(request_body)
    assert capture.request.head["request_bytes"] == len(request_body)
    assert capture.response.head["response_bytes"] == len(answer_body)


@settings(HERE, max_examples=80)
@given(events=EVENTS, told=ANSWER_ENDS, answer_cuts=CUTS, wire_cuts=CUTS)
def test_any_stream_of_events_is_the_bytes_out_and_the_bytes_stored(exchange, events, told, answer_cuts, wire_cuts):
    how = {"asked": "length", "told": told, "request_cuts": [], "answer_cuts": answer_cuts, "wire_cuts": wire_cuts}
    _, got, capture = exchange(b"{}", events, content_type="text/event-stream; charset=utf-8", **how)

    assert got.body == stored(capture.response) == events
    assert (capture.response.key, capture.response.head["stream"]) == ("raw", True)
    assert (got.broken, capture.response.head["complete"]) == (False, True)
    assert len(capture.response.head["chunk_ms"]) <= len(events)


@settings(HERE, max_examples=40)
@given(
    bodies=st.lists(st.binary(max_size=60), min_size=1, max_size=5),
    ends=st.lists(REQUEST_ENDS, min_size=5, max_size=5),
    wire_cuts=CUTS,
)
def test_any_calls_on_one_connection_are_answered_in_order(lasting, bodies, ends, wire_cuts):
    station, upstream = lasting
    upstream.visits.clear()
    upstream.answer = lambda visit: visit.respond(body=visit.body)
    agent = station.agent()
    wire = b""
    for body, asked in zip(bodies, ends, strict=False):
        lines, pieces = framed([body] if body else [], asked)
        wire += agent.head("/v1/chat/completions", *lines) + b"".join(pieces)
    with agent.dial() as sock, sock.makefile("rb") as reader:
        # All of them at once: none waits for the answer to the one before.
        dribble(sock.sendall, wire, wire_cuts)
        got = [read_sized(reader) for _ in bodies]
    captures = station.end(agent)

    assert got == bodies == [visit.body for visit in upstream.visits]
    assert [stored(capture.request) for capture in captures] == bodies
    assert [stored(capture.response) for capture in captures] == bodies


def read_sized(reader) -> bytes:
    length = 0
    assert reader.readline().startswith(b"HTTP/1.1 200")
    while line := reader.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return reader.read(length)
