from __future__ import annotations

import gzip
import json
import socket
import threading
import time

import brotli
import pytest
import zstandard

from pytest_agentcap.runs.frames import CHUNK, REQUEST, RESPONSE, read_body, read_frames

EVENT = b'data: {"choices":[{"delta":{"content":"\xe6\xbc\xa2"}}]}\n\n'


def stored(half):
    """Return the exact bytes of the body that a capture file holds."""
    if "body_base64" in half.head:
        import base64

        return base64.b64decode(half.head["body_base64"])
    return json.loads(half.text).encode() if half.key == "raw" else half.text


def test_a_request_reaches_the_upstream_as_the_agent_sent_it(station, agent, upstream):
    sent = [("X-Twice", "1"), ("User-Agent", "agent/1"), ("x-twice", "2"), ("Accept-Encoding", "zstd")]
    agent.call("/v1/chat/completions?a=1&a=%2F", b'{"b":1, "a":2}', headers=sent)

    [visit] = upstream.visits
    assert (visit.method, visit.target) == ("POST", "/v1/chat/completions?a=1&a=%2F")
    assert visit.body == b'{"b":1, "a":2}'
    assert visit.values("x-twice") == ["1", "2"]
    assert visit.values("host") == [upstream.url.removeprefix("http://")]
    names = [name.lower() for name, _ in visit.headers]
    assert sorted(names) == sorted(["host", "content-length", "x-twice", "user-agent", "x-twice", "accept-encoding"])


def test_header_values_travel_as_the_bytes_they_are(station, agent, upstream):
    value = "café – 漢"
    as_read = value.encode().decode("latin-1")
    upstream.answer = lambda visit: visit.respond(200, [("x-title", as_read), ("x-latin", "caf\xe9")])
    answer = agent.call(headers=[("x-title", value.encode())])
    [capture] = station.end(agent)

    assert upstream.visits[0].values("x-title") == answer.values("x-title") == [as_read]
    assert answer.values("x-latin") == ["caf\xe9"]
    assert ["x-title", as_read] in capture.request.head["request_headers"]
    assert ["x-title", as_read] in capture.response.head["response_headers"]


@pytest.mark.parametrize("path", ["/v1/models/a%zz", "/v1/files?q=\"<{|}>'^`", "/v1/files?q=caf%C3%A9&&=", "/v1/f?"])
def test_a_target_is_not_spelled_anew(agent, upstream, path):
    agent.call(path, None, method="GET")
    assert upstream.visits[0].target == path.removesuffix("?")


def test_hop_by_hop_headers_end_at_the_proxy(agent, upstream):
    dropped = [
        ("connection", "x-mine, X-Yours"),
        ("x-mine", "1"),
        ("x-yours", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic x"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
    ]
    agent.call(headers=[*dropped, ("x-kept", "1")])

    names = {name.lower() for name, _ in upstream.visits[0].headers}
    assert names == {"host", "content-length", "x-kept"}


def test_a_chunked_request_arrives_whole(agent, upstream):
    with socket.create_connection(agent.address) as sock:
        sock.sendall(
            f"POST /{agent.lease.token}/v1/chat/completions HTTP/1.1\r\nhost: h\r\nconnection: close\r\n".encode()
            + b"transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
        )
        reader = sock.makefile("rb")
        assert reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        sock.sendall(b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n')
        assert reader.readline() == b"\r\n"
        assert reader.readline().startswith(b"HTTP/1.1 200")
    assert upstream.visits[0].body == b'{"a":1}'
    assert upstream.visits[0].values("content-length") == ["7"]


def test_a_body_of_many_megabytes_passes(station, agent, upstream):
    body = json.dumps(["x" * 1000] * 8000).encode()
    assert agent.call(body=body).body == body

    [capture] = station.end(agent)
    assert upstream.visits[0].body == body
    assert capture.request.text == capture.response.text == body


def test_status_and_headers_reach_the_agent_as_the_upstream_sent_them(agent, upstream):
    own = [("Server", "up/1"), ("X-Twice", "1"), ("x-twice", "2"), ("set-cookie", "a=1"), ("Set-Cookie", "b=2")]
    hops = [("Connection", "x-hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=9"), ("Proxy-Authenticate", "Basic")]
    upstream.answer = lambda visit: visit.respond(418, [*own, *hops], b"{}")
    answer = agent.call()

    assert answer.status == 418
    assert answer.values("x-twice") == ["1", "2"]
    assert answer.values("set-cookie") == ["a=1", "b=2"]
    assert sorted(name.lower() for name, _ in answer.headers) == sorted(
        ["server", "x-twice", "x-twice", "set-cookie", "set-cookie", "content-length"]
    )


@pytest.mark.parametrize("status", [429, 529])
def test_an_error_on_a_stream_keeps_its_status_and_retry_after(station, agent, upstream, status):
    headers = [("retry-after", "7"), ("content-type", "application/json")]
    upstream.answer = lambda visit: visit.respond(status, headers, b'{"error":"slow down"}')
    answer = agent.call(body=b'{"stream":true}')
    [capture] = station.end(agent)

    assert (answer.status, answer.values("retry-after"), answer.body) == (status, ["7"], b'{"error":"slow down"}')
    assert capture.response.head["status_code"] == status
    assert capture.response.head["stream"] is False
    assert ["retry-after", "7"] in capture.response.head["response_headers"]
    assert capture.response.text == b'{"error":"slow down"}'


def zipped(data: bytes) -> bytes:
    # Without the time of day, which would make two zips of one text differ.
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", zipped),
        ("br", brotli.compress),
        ("zstd", zstandard.compress),
        ("GZIP", zipped),
        ("gzip, br", lambda data: brotli.compress(zipped(data))),
    ],
)
def test_a_compressed_answer_reaches_the_agent_as_sent_and_the_capture_decoded(
    station, agent, upstream, encoding, compress
):
    plain = b'{"model": "served", "text": "' + b"x" * 500 + b'"}'
    headers = [("content-encoding", encoding), ("content-type", "application/json")]
    upstream.answer = lambda visit: visit.respond(200, headers, compress(plain))
    answer = agent.call(headers=[("accept-encoding", encoding)])
    [capture] = station.end(agent)

    assert answer.body == compress(plain)
    assert answer.values("content-encoding") == [encoding]
    assert capture.response.text == plain
    assert capture.response.head["response_bytes"] == len(compress(plain))
    assert capture.response.head["upstream_fingerprint"] == {"served_model": "served"}
    assert "undecoded" not in capture.response.head


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", zipped), ("zstd", zstandard.compress), ("br", brotli.compress)]
)
def test_a_compressed_request_arrives_as_sent_and_the_capture_holds_its_text(
    station, agent, upstream, encoding, compress
):
    plain = b'{"model": "m", "n": 1e400}'
    agent.call(body=compress(plain), headers=[("content-encoding", encoding)])
    agent.call(body=b"not " + encoding.encode(), headers=[("content-encoding", encoding)])
    capture, lying = station.end(agent)

    assert upstream.visits[0].body == compress(plain)
    assert upstream.visits[0].values("content-encoding") == [encoding]
    assert capture.request.text == plain
    assert capture.request.head["request_bytes"] == len(compress(plain))
    assert "undecoded" not in capture.request.head
    assert (lying.request.head["undecoded"], stored(lying.request)) == (encoding, upstream.visits[1].body)


@pytest.mark.parametrize(("encoding", "wire"), [("zstd", b"not zstd"), ("gzip", b"not gzip"), ("x-own", b"\x00\x01")])
def test_an_answer_that_cannot_be_decoded_is_stored_as_it_was(station, agent, upstream, encoding, wire):
    upstream.answer = lambda visit: visit.respond(200, [("content-encoding", encoding)], wire)
    assert agent.call().body == wire
    [capture] = station.end(agent)

    assert capture.response.head["undecoded"] == encoding
    assert stored(capture.response) == wire


def test_no_cookie_of_one_call_is_sent_on_another(station, agent, upstream):
    upstream.answer = lambda visit: visit.respond(200, [("set-cookie", "session=secret; Path=/")])
    agent.call()
    agent.call(headers=[("cookie", "mine=1")])
    station.agent("task-2").call()

    assert [visit.values("cookie") for visit in upstream.visits] == [[], ["mine=1"], []]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_passed_on_and_not_followed(station, agent, upstream, status):
    upstream.answer = lambda visit: visit.respond(status, [("location", f"{upstream.url}/elsewhere")], b"[1]")
    answer = agent.call()
    [capture] = station.end(agent)

    assert (answer.status, answer.values("location")) == (status, [f"{upstream.url}/elsewhere"])
    assert len(upstream.visits) == 1
    assert (capture.response.head["status_code"], capture.response.text) == (status, b"[1]")


def test_proxy_variables_of_the_environment_are_ignored(make_station, upstream, refused_url, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, refused_url)
    monkeypatch.setenv("NO_PROXY", "")
    assert make_station(upstream.url).agent().call().status == 200


def test_other_paths_are_forwarded_and_not_recorded(station, agent, upstream):
    assert agent.call("/v1/models", None, method="GET").status == 200
    assert agent.call("/v1/files", b"\xff\x00", method="PUT").body == b"\xff\x00"
    upstream.answer = lambda visit: visit.start(204)
    assert agent.call("/v1/files/1", None, method="DELETE").status == 204
    upstream.answer = lambda visit: visit.start(200, [("content-length", "99")])
    assert agent.call("/v1/files/1", None, method="HEAD").values("content-length") == ["99"]

    assert [visit.method for visit in upstream.visits] == ["GET", "PUT", "DELETE", "HEAD"]
    assert station.end(agent) == []
    assert list(station.captures.iterdir()) == []


def test_a_connection_is_used_again_and_one_that_the_upstream_closed_is_not(agent, upstream):
    agent.call()
    agent.call()
    assert [visit.connection for visit in upstream.visits] == [1, 1]

    upstream.visits[-1].sock.shutdown(socket.SHUT_RDWR)
    assert agent.call().status == 200
    assert upstream.visits[-1].connection == 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/other/stream"])
def test_a_stream_is_delivered_event_by_event(station, agent, upstream, path):
    sent, arrived, received = [], [], threading.Semaphore(0)

    def answer(visit):
        visit.start_stream()
        for number in range(20):
            sent.append(time.monotonic())
            visit.chunk(b"data: %d\n\n" % number)
            # The next one is not sent before the agent has this one: a proxy that collects would wait for ever.
            assert received.acquire(timeout=60)
        visit.end()

    upstream.answer = answer
    connection = agent.open(path)
    response = connection.getresponse()
    for number in range(20):
        assert response.read1(100) == b"data: %d\n\n" % number
        arrived.append(time.monotonic())
        received.release()
    assert response.read() == b""
    connection.close()

    assert all(there < here < later for there, here, later in zip(sent, arrived, sent[1:], strict=False))
    for capture in station.end(agent):
        assert len(capture.response.head["chunk_ms"]) == 20
        assert capture.response.head["chunk_ms"] == sorted(capture.response.head["chunk_ms"])


def test_a_stream_is_stored_as_its_raw_text(station, agent, upstream):
    raw = b": ping\r\n\r\n" + EVENT + b'data: "\\ud800"\n\ndata: [DONE]\n\n'

    def answer(visit):
        visit.start_stream()
        for start in range(0, len(raw), 7):
            visit.chunk(raw[start : start + 7])
        visit.end()

    upstream.answer = answer
    assert agent.call().body == raw
    [capture] = station.end(agent)

    assert (capture.response.key, capture.response.head["stream"]) == ("raw", True)
    assert json.loads(capture.response.text).encode() == raw
    assert "漢" in capture.response.text.decode()


def test_a_long_stream_is_spooled_while_it_runs(station, agent, upstream, until):
    block, go_on = b"data: " + b"x" * 99_992 + b"\n\n", threading.Event()

    def answer(visit):
        visit.start_stream()
        for _ in range(30):
            visit.chunk(block)
        go_on.wait(60)
        visit.chunk(block)
        visit.end()

    def spooled():
        with agent.pairs.journal.open("rb") as file:
            return sum(len(read_body(file, frame)) for frame in list(read_frames(file)) if frame.kind == CHUNK)

    upstream.answer = answer
    connection = agent.open()
    response = connection.getresponse()
    body = response.read(30 * len(block))
    until(lambda: spooled() >= 2 << 20)
    go_on.set()
    body += response.read()
    connection.close()
    [capture] = station.end(agent)

    assert body == block * 31
    assert json.loads(capture.response.text).encode() == body
    assert capture.response.head["response_bytes"] == len(body)


def test_a_capture_tells_which_call_it_is_and_how_it_went(station, agent, upstream):
    started = time.time_ns()
    upstream.answer = lambda visit: visit.respond(201, [("server", "up"), ("x-request-id", "7")], b"[1]")
    agent.lease.turn = 3
    agent.call("/v1/responses/?v=1", b"[0]", headers=[("user-agent", "agent/1")])
    [capture] = station.end(agent)
    request, response = capture.request.head, capture.response.head

    assert (
        request.items()
        >= {
            "request_id": capture.rid,
            "task_id": "task-1",
            "session": "task-1",
            "turn": 3,
            "call_index": 1,
            "api": "responses",
            "method": "POST",
            "path": "/v1/responses/",
            "query": "v=1",
            "upstream_url": upstream.url,
            "request_bytes": 3,
        }.items()
    )
    assert ["user-agent", "agent/1"] in request["request_headers"]
    assert started <= request["started_at_ns"] <= response["ended_at_ns"] <= time.time_ns()
    assert (
        response.items()
        >= {
            "request_id": capture.rid,
            "status_code": 201,
            "stream": False,
            "complete": True,
            "error": None,
            "response_bytes": 3,
            "upstream_fingerprint": {"server": "up"},
        }.items()
    )
    assert ["x-request-id", "7"] in response["response_headers"]
    assert 0 < response["first_byte_ms"] == response["chunk_ms"][0] <= response["duration_ms"]


def test_a_call_is_recorded_before_its_first_byte_goes_upstream(station, agent, upstream):
    recorded = []

    def answer(visit):
        with agent.lease.journal.path.open("rb") as file:
            recorded.append([frame.body for frame in read_frames(file) if frame.kind == REQUEST])
        visit.respond()

    upstream.answer = answer
    for number in range(20):
        agent.call(body=b"[%d]" % number)
    assert recorded == [[b"[%d]" % number for number in range(last + 1)] for last in range(20)]


def test_an_answer_is_recorded_before_the_agent_can_know_that_it_is_complete(station, agent, upstream):
    upstream.answer = lambda visit: visit.respond(200, body=b'{"n":1}')
    for _ in range(50):
        agent.call()
        with agent.lease.journal.path.open("rb") as file:
            kinds = [frame.kind for frame in read_frames(file)]
        assert kinds.count(RESPONSE) == kinds.count(REQUEST)
