"""Known secrets: what travels holds them, what is stored does not, and stays what it was apart from them."""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
import zlib
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = 'sk-upstream/0123456789+"x"'
TOKEN = "hf_passed_on_0123456789"
PLACEHOLDER = r"agentcap-redacted-[0-9a-f]{8}"


@pytest.fixture
def agent(station):
    return station.agent(secrets=(KEY, TOKEN))


def stream(visit, pieces, headers=()):
    visit.start(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked"), *headers])
    for piece in pieces:
        visit.chunk(piece)
    visit.end()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 60), max_size=6), ascii_only=st.booleans())
def test_a_secret_is_found_wherever_chunks_cut_it(lasting, cuts, ascii_only):
    station, upstream = lasting
    agent = station.agent(secrets=(KEY, TOKEN))
    answer = f"data: {json.dumps({'key': KEY, 'token': TOKEN}, ensure_ascii=ascii_only)}\n\n".encode()
    places = [0, *sorted({place % len(answer) for place in cuts}), len(answer)]
    pieces = [answer[here:there] for here, there in pairwise(places) if there > here]
    upstream.answer = lambda visit: stream(visit, pieces)
    got = agent.call(body=answer[6:-2])
    [capture] = station.end(agent)

    assert upstream.visits[-1].body == answer[6:-2]
    assert got.body == answer
    stored = json.loads(capture.response.text)
    assert re.fullmatch(f'data: {{"key": "{PLACEHOLDER}", "token": "{PLACEHOLDER}"}}\n\n', stored)
    assert json.loads(capture.request.text) == json.loads(stored[6:])
    assert (capture.request.head["redacted"], capture.response.head["redacted"]) == (2, 2)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_secret_in_a_compressed_request_is_masked(station, agent, compress):
    coding = "gzip" if compress is gzip.compress else "zstd"
    agent.call(body=compress(json.dumps([KEY, TOKEN]).encode()), headers=[("content-encoding", coding)])
    [capture] = station.end(agent)
    assert capture.request.head["redacted"] == 2
    assert all(re.fullmatch(PLACEHOLDER, text) for text in json.loads(capture.request.text))


def test_a_secret_is_found_where_a_long_stream_was_spooled(station, agent, upstream, everything_on_disk):
    # A frame is written when 256 KB are there: in the middle of the secret.
    pieces = [b"x" * ((1 << 18) - 5), TOKEN.encode()[:8], TOKEN.encode()[8:], b"y" * (1 << 18), TOKEN.encode()]
    upstream.answer = lambda visit: stream(visit, pieces)
    got = agent.call()
    [capture] = station.end(agent)

    assert got.body == b"".join(pieces)
    assert capture.response.head["redacted"] == 2
    assert TOKEN.encode() not in everything_on_disk(station.captures)


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstandard.compress)],
)
def test_a_secret_in_a_compressed_answer_is_masked_in_its_text(station, agent, upstream, coding, compress):
    wire = compress(json.dumps({"token": TOKEN}).encode())
    upstream.answer = lambda visit: visit.respond(200, [("content-encoding", coding)], wire)
    got = agent.call()
    [capture] = station.end(agent)

    assert got.body == wire
    assert re.fullmatch(PLACEHOLDER, json.loads(capture.response.text)["token"])


def begin_gzip(text):
    zipper = zlib.compressobj(wbits=31)
    return zipper.compress(text) + zipper.flush(zlib.Z_SYNC_FLUSH)


def begin_br(text):
    zipper = brotli.Compressor()
    return zipper.process(text) + zipper.flush()


def begin_zstd(text):
    zipper = zstandard.ZstdCompressor().compressobj()
    return zipper.compress(text) + zipper.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


@pytest.mark.parametrize(("coding", "begin"), [("gzip", begin_gzip), ("br", begin_br), ("zstd", begin_zstd)])
def test_a_compressed_answer_that_breaks_off_is_stored_decoded_and_masked(
    station, agent, upstream, until, everything_on_disk, coding, begin
):
    wire = begin(b'{"token":"' + TOKEN.encode() + b'","rest":"' + bytes(range(48, 90)) * 20)
    arrived = threading.Event()

    def answer(visit):
        visit.start(200, [("content-encoding", coding), ("transfer-encoding", "chunked")])
        visit.chunk(wire)
        arrived.wait(60)
        visit.reset()

    upstream.answer = answer
    connection = agent.open()
    response = connection.getresponse()
    got = b""
    while len(got) < len(wire):
        got += response.read1(1000)
    arrived.set()
    until(lambda: not agent.lease.in_flight)
    connection.close()
    [capture] = station.end(agent)

    assert got == wire
    assert capture.response.head["error"] == "upstream_reset"
    assert "undecoded" not in capture.response.head
    stored = base64.b64decode(capture.response.head["body_base64"])
    assert re.match(rb'\{"token":"' + PLACEHOLDER.encode() + rb'","rest":"0123', stored)
    assert TOKEN.encode() not in everything_on_disk(station.captures)


def test_a_placeholder_is_the_same_in_all_calls_and_keeps_json_valid(station, agent, upstream):
    agent.call(body=json.dumps({TOKEN: [KEY, TOKEN]}).encode())
    agent.call(body=json.dumps([f"Bearer {TOKEN}", KEY]).encode())
    first, second = (json.loads(capture.request.text) for capture in station.end(agent))

    [(token, (key, again))] = first.items()
    assert token == again != key
    assert second == [f"Bearer {token}", key]


def test_a_secret_in_bytes_that_are_no_text_is_masked_too(station, agent, upstream, everything_on_disk):
    agent.call(body=b"\xff" + TOKEN.encode() + b"\xfe")
    [capture] = station.end(agent)

    stored = base64.b64decode(capture.request.head["body_base64"])
    assert re.fullmatch(b"\xff" + PLACEHOLDER.encode() + b"\xfe", stored)
    assert TOKEN.encode() not in everything_on_disk(station.captures)


def test_an_upstream_that_echoes_the_key_puts_it_into_no_capture(make_station, upstream, everything_on_disk):
    station = make_station(upstream.url, KEY)
    agent = station.agent(secrets=(KEY,))

    def echo(visit):
        [key] = visit.values("authorization")
        visit.respond(401, [("x-echo", key)], json.dumps({"error": f"wrong key: {key}"}).encode())

    upstream.answer = echo
    got = agent.call()
    station.end(agent)

    assert json.loads(got.body) == {"error": f"wrong key: Bearer {KEY}"}
    for spelling in (KEY, json.dumps(KEY)[1:-1]):
        assert spelling.encode() not in everything_on_disk(station.captures)


def test_a_body_without_a_secret_is_the_very_same(station, agent, upstream):
    body = b'{"b" : 1e400,"a":"\\u00e9\xc3\xa9", "b": "hf_"}'
    agent.call(body=body)
    [capture] = station.end(agent)
    assert capture.request.text == capture.response.text == body
    assert capture.request.head["redacted"] == capture.response.head["redacted"] == 0
