"""Corners of HTTP that an upstream may show: bodiless answers, informational ones, TLS, and very long bodies."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading

import pytest


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none_for_the_agent_and_the_capture(station, agent, upstream, status):
    upstream.answer = lambda visit: visit.start(status, [("x-kept", "yes")])
    got = agent.call()
    again = agent.call()
    captures = station.end(agent)

    assert [(each.status, each.body, each.values("x-kept")) for each in (got, again)] == [(status, b"", ["yes"])] * 2
    assert [capture.response.head["complete"] for capture in captures] == [True, True]
    assert len({visit.connection for visit in upstream.visits}) == 1


def test_an_empty_body_stays_empty(station, agent, upstream, hear):
    with agent.dial(agent.head("/v1/chat/completions")) as sock:
        assert hear(sock).body == b""
    assert agent.call(body=b"").body == b""
    captures = station.end(agent)

    assert [visit.body for visit in upstream.visits] == [b"", b""]
    for capture in captures:
        assert capture.request.head["request_bytes"] == capture.response.head["response_bytes"] == 0
        assert capture.request.head["body_base64"] == capture.response.head["body_base64"] == ""


def test_an_agent_that_asks_before_it_sends_its_body_is_told_to_go_on(station, agent, upstream, hear):
    head = agent.head("/v1/chat/completions", "content-length: 7", "expect: 100-continue")
    with agent.dial(head) as sock:
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert upstream.visits == []
        sock.sendall(b'{"n":1}')
        assert hear(sock).body == b'{"n":1}'
    [capture] = station.end(agent)

    assert upstream.visits[0].body == capture.request.text == b'{"n":1}'
    assert upstream.visits[0].values("expect") == []


def test_an_agent_that_asks_without_a_lease_is_told_no_at_once(station, agent, upstream, hear):
    head = agent.head("/v1/chat/completions", "content-length: 7", "expect: 100-continue")
    with agent.dial(head.replace(agent.lease.token.encode(), b"0" * 32)) as sock:
        assert hear(sock).status == 403
    assert upstream.visits == []


@pytest.mark.parametrize("ends", ["content-length: 3", "transfer-encoding: chunked"])
def test_an_upgrade_that_is_offered_is_not_taken_and_costs_no_body(station, agent, upstream, hear, ends):
    # Java's client offers HTTP/2 with its first request like this.
    offer = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAA", "x-kept: 1", ends]
    head = agent.head("/v1/chat/completions", *offer)
    one, two = (b"[1]", b"[2]") if "length" in ends else (b"3\r\n[1]\r\n0\r\n\r\n", b"3\r\n[2]\r\n0\r\n\r\n")
    with agent.dial(head + one) as sock:
        assert hear(sock).body == b"[1]"
        sock.sendall(head)
        for byte in two:
            sock.sendall(bytes([byte]))
        assert hear(sock).body == b"[2]"
        # Two at once, the second of them without an offer.
        sock.sendall(head + one.replace(b"1]", b"3]") + agent.head("/v1/models", "content-length: 0", method="GET"))
        assert hear(sock).body == b"[3]"
    captures = station.end(agent)

    assert [visit.body for visit in upstream.visits][:3] == [b"[1]", b"[2]", b"[3]"]
    assert [capture.request.text for capture in captures] == [b"[1]", b"[2]", b"[3]"]
    assert {name.lower() for name, _ in upstream.visits[0].headers} == {"host", "content-length", "x-kept"}


def test_trailers_of_a_request_are_no_headers(station, agent, upstream, hear):
    head = agent.head("/v1/chat/completions", "transfer-encoding: chunked", "trailer: x-late", "x-kept: 1")
    trailers = b"x-late: 1\r\nauthorization: Bearer mine\r\nhost: elsewhere\r\n"
    with agent.dial(head + b'7\r\n{"n":1}\r\n0\r\n' + trailers + b"\r\n") as sock:
        assert hear(sock).body == b'{"n":1}'
    [capture] = station.end(agent)

    assert {name.lower() for name, _ in upstream.visits[0].headers} == {"host", "content-length", "x-kept"}
    assert "x-late" not in dict(capture.request.head["request_headers"])


@pytest.mark.parametrize("told", [True, False])
def test_an_agent_that_speaks_http_1_0_gets_no_chunks(station, agent, upstream, told):
    def answer(visit):
        if told:
            visit.respond(200, body=b"data: 1\n\ndata: 2\n\n")
            return
        visit.start_stream()
        for number in (1, 2):
            visit.chunk(b"data: %d\n\n" % number)
        visit.end()

    upstream.answer = answer
    head = agent.head("/v1/chat/completions", "content-length: 2").replace(b"HTTP/1.1", b"HTTP/1.0")
    with agent.dial(head + b"{}") as sock, sock.makefile("rb") as reader:
        got, _, body = reader.read().partition(b"\r\n\r\n")
    [capture] = station.end(agent)

    assert body == b"data: 1\n\ndata: 2\n\n"
    assert b"transfer-encoding" not in got
    assert (b"content-length: 18" in got) == told
    assert b"connection: close" in got
    assert capture.response.head["complete"]


def test_a_request_whose_head_has_no_end_is_431(agent, upstream, hear):
    head = agent.head("/v1/models", method="GET").removesuffix(b"\r\n")
    # Not a byte more than what is too much: what is not read would have the connection reset.
    endless = head + b"x: " + b"y" * ((1 << 16) - len(head) - 2)
    with agent.dial(endless[:1000], endless[1000:]) as sock:
        assert hear(sock).status == 431
    assert upstream.visits == []


def test_a_long_head_and_many_small_chunks_pass(station, agent, upstream, hear):
    head = agent.head("/v1/chat/completions", f"x-long: {'y' * 40_000}", "transfer-encoding: chunked")
    with agent.dial(head, b"1;a=%s\r\n1\r\n" % (b"z" * 100) * 2000 + b"0\r\n\r\n") as sock:
        assert hear(sock).body == b"1" * 2000
    [capture] = station.end(agent)
    assert capture.request.text == b"1" * 2000


def test_a_head_request_gets_the_length_and_no_body(station, agent, upstream):
    upstream.answer = lambda visit: visit.start(200, [("content-length", "10")])
    got = agent.call("/v1/models", body=None, method="HEAD")
    assert (got.status, got.values("content-length"), got.body) == (200, ["10"], b"")
    assert agent.lease.unrecorded == {"HEAD /v1/models": 1}
    assert station.end(agent) == []


@pytest.mark.parametrize("informational", [100, 102, 103])
def test_an_informational_answer_is_not_taken_for_the_answer(station, agent, upstream, informational):
    def answer(visit):
        visit.start(informational, [("x-early", "yes")])
        visit.respond(200, body=b'{"n":1}')

    upstream.answer = answer
    got = agent.call()
    [capture] = station.end(agent)
    assert (got.status, got.body) == (200, b'{"n":1}')
    assert capture.response.head["status_code"] == 200


def test_a_body_of_64_mb_passes_and_is_stored(station, agent, upstream):
    body = json.dumps({"model": "m", "pad": "x" * (64 << 20)}).encode()
    upstream.answer = lambda visit: visit.respond(200, body=str(len(visit.body)).encode())
    got = agent.call(body=body)
    [capture] = station.end(agent)
    assert got.body == str(len(body)).encode()
    assert capture.request.text == body
    assert capture.request.head["request_bytes"] == len(body)


def test_a_slow_answer_is_passed_on_byte_by_byte(station, agent, upstream):
    told = threading.Semaphore(0)

    def answer(visit):
        visit.start_stream()
        for number in range(5):
            visit.chunk(b"data: %d\n\n" % number)
            assert told.acquire(timeout=60)
        visit.end()

    upstream.answer = answer
    connection = agent.open()
    response = connection.getresponse()
    # The upstream goes on only when the agent has what it sent before: anything held back would stop both.
    for number in range(5):
        assert response.read1(100) == b"data: %d\n\n" % number
        told.release()
    assert response.read() == b""
    connection.close()
    [capture] = station.end(agent)
    assert len(capture.response.head["chunk_ms"]) == 5


class TlsUpstream:
    """Answer one request over TLS with a certificate of its own."""

    def __init__(self, certificate: str, key: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self.url = f"https://localhost:{self._listener.getsockname()[1]}/v1"
        self.seen = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            sock, _ = self._listener.accept()
            with sock:
                while not self.seen.endswith(b"\r\n\r\n{}"):
                    self.seen += sock.recv(65536)
                sock.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-type: application/json\r\n\r\n" + b'{"n":1}'
                )
        except OSError:
            # A client that does not trust the certificate hangs up.
            return

    def close(self) -> None:
        self._listener.close()
        self._thread.join(60)


@pytest.fixture
def tls(tmp_path, need):
    need("openssl")
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    upstream = TlsUpstream(certificate, key)
    yield upstream, certificate
    upstream.close()


def test_an_upstream_over_tls_is_checked_and_gets_its_key(make_station, tls, monkeypatch):
    upstream, certificate = tls
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    station = make_station(upstream.url, "sk-tls-0123456789")
    agent = station.agent()
    got = agent.call()
    [capture] = station.end(agent)
    assert (got.status, got.body) == (200, b'{"n":1}')
    assert b"POST /v1/chat/completions HTTP/1.1" in upstream.seen
    assert b"Bearer sk-tls-0123456789" in upstream.seen
    assert capture.response.head["connected_ms"] > 0


def test_a_certificate_that_nobody_vouches_for_is_refused_and_gets_no_key(make_station, tls):
    upstream, _ = tls
    station = make_station(upstream.url, "sk-tls-0123456789")
    agent = station.agent()
    got = agent.call()
    [capture] = station.end(agent)
    assert got.status == 502
    assert "certificate" in json.loads(got.body)["error"]["message"].lower()
    assert capture.response.head["error"] == "upstream_refused"
    assert upstream.seen == b""
