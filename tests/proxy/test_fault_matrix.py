"""What goes wrong between agent and upstream: each fault as the agent sees it, and as the capture tells it."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading

import pytest

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = PLAIN + b"transfer-encoding: chunked\r\n\r\n"


def stored(half) -> bytes:
    """Return the exact bytes of the body that a capture file holds."""
    if "body_base64" in half.head:
        return base64.b64decode(half.head["body_base64"])
    return half.text


@pytest.fixture
def station(lasting_by_either):
    return lasting_by_either[0]


@pytest.fixture
def upstream(lasting_by_either):
    upstream = lasting_by_either[1]
    upstream.visits.clear()
    upstream.answer = lambda visit: visit.respond(body=visit.body)
    yield upstream
    upstream.disconnect()


@pytest.fixture
def agent(station):
    agent = station.agent()
    yield agent
    if agent in station.agents:
        station.end(agent)


def half_close(visit):
    visit.sock.shutdown(socket.SHUT_WR)
    visit.hang()


WHOLE = {
    "ended by a half-close": [PLAIN + b'\r\n{"n":1}', half_close],
    "of HTTP/1.0": [b'HTTP/1.0 200 OK\r\n\r\n{"n":1}', half_close],
    "announced to end the connection": [PLAIN + b'connection: close\r\ncontent-length: 7\r\n\r\n{"n":1}', half_close],
    "followed by a second answer": [
        PLAIN + b'content-length: 7\r\n\r\n{"n":1}' + PLAIN + b'content-length: 7\r\n\r\n{"n":2}'
    ],
    "with chunk extensions and trailers": [CHUNKED + b'3;a="b"\r\n{"n\r\n4\r\n":1}\r\n0\r\nx-trailer: 1\r\n\r\n'],
    "with a chunk size in capitals and zeros": [CHUNKED + b'0007\r\n{"n":1}\r\n000\r\n\r\n'],
    "after three informational ones": [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
        PLAIN + b'content-length: 7\r\n\r\n{"n":1}',
    ],
}


def play(steps):
    def answer(visit):
        for step in steps:
            visit.send(step) if isinstance(step, bytes) else step(visit)

    return answer


@pytest.mark.parametrize("steps", WHOLE.values(), ids=WHOLE)
def test_an_odd_answer_that_is_whole_is_whole_for_the_agent_and_the_capture(station, agent, upstream, steps):
    upstream.answer = play(steps)
    got = agent.call()
    upstream.answer = lambda visit: visit.respond(body=b"[2]")
    again = agent.call()
    first, second = station.end(agent)

    assert (got.status, got.body, got.broken) == (200, b'{"n":1}', False)
    assert got.values("x-trailer") == []
    assert (first.response.head["complete"], first.response.head["error"], first.response.text) == (
        True,
        None,
        got.body,
    )
    # Whatever came behind the first answer is not taken for the second one.
    assert (again.status, again.body, second.response.text) == (200, b"[2]", b"[2]")


def test_an_answer_that_goes_on_behind_its_content_length_ends_there(station, agent, upstream):
    went_on, told = threading.Event(), threading.Event()

    def answer(visit):
        visit.send(PLAIN + b'content-length: 7\r\n\r\n{"n":1}')
        told.wait(60)
        visit.send(b', "more": 1}')
        went_on.set()
        visit.hang()

    upstream.answer = answer
    got = agent.call()
    told.set()
    assert went_on.wait(60)
    upstream.answer = lambda visit: visit.respond(body=b"[2]")
    again = agent.call()
    first, second = station.end(agent)

    assert (got.status, got.body, first.response.text) == (200, b'{"n":1}', b'{"n":1}')
    assert (first.response.head["complete"], first.response.head["response_bytes"]) == (True, 7)
    assert (again.status, again.body, second.response.text) == (200, b"[2]", b"[2]")


def test_an_answer_that_comes_with_more_than_its_content_length_is_never_mixed_up(station, agent, upstream):
    upstream.answer = play([PLAIN + b'content-length: 7\r\n\r\n{"n":1}, "more": 1}'])
    got = agent.call()
    upstream.answer = lambda visit: visit.respond(body=b"[2]")
    again = agent.call()
    first, second = station.end(agent)

    head = first.response.head
    # A client may take what is behind an answer for the beginning of a broken one.
    assert (got.status, head["error"]) in [(200, None), (502, "bad_gateway")]
    assert (head["status_code"], first.response.text) == (got.status, got.body)
    assert got.status == 502 or got.body == b'{"n":1}'
    assert (again.status, again.body, second.response.text) == (200, b"[2]", b"[2]")


BROKEN = {
    "closed in a chunk": (CHUNKED + b'7\r\n{"n"', half_close, "upstream_reset"),
    "closed in the size of a chunk": (CHUNKED + b'4\r\n{"n"\r\n1', half_close, "upstream_reset"),
    "closed behind a chunk": (CHUNKED + b'4\r\n{"n"\r\n', half_close, "upstream_reset"),
    "closed before the last line": (CHUNKED + b'4\r\n{"n"\r\n0\r\n', half_close, "upstream_reset"),
    "reset in a chunk": (CHUNKED + b'7\r\n{"n"', lambda visit: visit.reset(), "upstream_reset"),
    "shorter than its content-length": (PLAIN + b'content-length: 7\r\n\r\n{"n"', half_close, "upstream_reset"),
    "reset before its content-length": (
        PLAIN + b'content-length: 7\r\n\r\n{"n"',
        lambda visit: visit.reset(),
        "upstream_reset",
    ),
    "reset where the connection is its end": (PLAIN + b'\r\n{"n"', lambda visit: visit.reset(), "upstream_reset"),
    "a chunk of no number": (CHUNKED + b'4\r\n{"n"\r\n', lambda visit: visit.send(b"xyz\r\n"), "bad_gateway"),
    "a chunk longer than its size": (CHUNKED + b'4\r\n{"n"', lambda visit: visit.send(b":1}\r\n"), "bad_gateway"),
}


@pytest.mark.parametrize(("begin", "act", "kind"), BROKEN.values(), ids=BROKEN)
def test_an_answer_that_breaks_off_is_broken_for_the_agent_and_the_capture(
    station, agent, upstream, read_answer, begin, act, kind
):
    arrived = threading.Event()
    upstream.answer = play([begin, lambda visit: arrived.wait(60), act])
    connection = agent.open()
    response = connection.getresponse()
    came = response.read1(4)
    arrived.set()
    rest = read_answer(response)
    connection.close()
    [capture] = station.end(agent)

    assert (response.status, came, rest.body, rest.broken) == (200, b'{"n"', b"", True)
    head = capture.response.head
    assert (head["status_code"], head["complete"], head["error"]) == (200, False, kind)
    assert (stored(capture.response), head["response_bytes"]) == (came, 4)


NO_ANSWER = {
    "closed at once": ([half_close], "upstream_reset"),
    "closed in its head": ([b"HTTP/1.1 200 OK\r\ncontent-", half_close], "upstream_reset"),
    "reset": ([lambda visit: visit.reset()], "upstream_reset"),
    "reset after an informational answer": ([b"HTTP/1.1 103 Early Hints\r\n\r\n", half_close], "upstream_reset"),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "bad_gateway"),
    "a status of letters": ([b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n"], "bad_gateway"),
    "a content-length of letters": ([b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"], "bad_gateway"),
    "two different content-lengths": (
        [PLAIN + b'content-length: 7\r\ncontent-length: 8\r\n\r\n{"n":1}'],
        "bad_gateway",
    ),
    "a head without end": ([b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, half_close], "bad_gateway"),
}


@pytest.mark.parametrize(("steps", "kind"), NO_ANSWER.values(), ids=NO_ANSWER)
def test_no_answer_is_502_for_the_agent_and_recorded_with_its_cause(station, agent, upstream, steps, kind):
    upstream.answer = play(steps)
    got = agent.call()
    [capture] = station.end(agent)

    assert (got.status, got.broken, got.values("content-type")) == (502, False, ["application/json"])
    assert json.loads(got.body)["error"]["message"].startswith("agentcap: ")
    head = capture.response.head
    assert (head["status_code"], head["complete"], head["error"]) == (502, False, kind)
    assert capture.response.text == got.body
    assert len(upstream.visits) == 1, "a call that may have been answered is not repeated"


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b""])
def test_an_upstream_that_fails_the_tls_handshake_is_502(make_station, said):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def fail():
            sock, _ = listener.accept()
            sock.recv(10_000)
            sock.sendall(said)
            sock.close()

        thread = threading.Thread(target=fail, daemon=True)
        thread.start()
        station = make_station(f"https://127.0.0.1:{listener.getsockname()[1]}")
        agent = station.agent()
        got = agent.call()
        [capture] = station.end(agent)
        thread.join(60)
    assert (got.status, capture.response.head["status_code"]) == (502, 502)
    assert capture.response.head["error"] in ("upstream_refused", "upstream_reset")
    assert capture.response.text == got.body


def test_an_upstream_that_accepts_no_connection_in_time_is_502(make_station, monkeypatch):
    monkeypatch.setattr("pytest_agentcap.proxy.client.CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        # Its queue of connections is full: the kernel answers no further one.
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        station = make_station(f"http://127.0.0.1:{listener.getsockname()[1]}")
        agent = station.agent()
        got = agent.call()
        [capture] = station.end(agent)
        for sock in waiting:
            sock.close()
    assert got.status == 502
    assert (capture.response.head["status_code"], capture.response.head["error"]) == (502, "upstream_timeout")
    assert capture.response.text == got.body


def test_an_agent_that_dribbles_its_request_is_heard_out_and_holds_up_nobody(station, agent, upstream, hear):
    request = agent.head("/v1/chat/completions", "content-length: 12") + b'{"slow":[1]}'
    other = station.agent("task-2")
    with agent.dial() as sock:
        for number, byte in enumerate(request):
            if number % 40 == 0:
                assert other.call(body=b"[%d]" % number).body == b"[%d]" % number
            sock.sendall(bytes([byte]))
        got = hear(sock)
    [capture], others = station.end(agent), station.end(other)

    assert (got.status, got.body) == (200, b'{"slow":[1]}')
    assert capture.request.text == capture.response.text == b'{"slow":[1]}'
    # The request counts from its head on, and reaches the upstream as a whole.
    assert [visit.body for visit in upstream.visits].count(b'{"slow":[1]}') == 1
    assert all(each.response.head["complete"] for each in [capture, *others])


def test_an_agent_that_dribbles_and_leaves_has_made_no_call(station, agent, upstream, until):
    with agent.dial(agent.head("/v1/chat/completions", "content-length: 12") + b'{"slow"'):
        assert upstream.visits == []
    assert agent.call().status == 200
    assert len(upstream.visits) == len(station.end(agent)) == 1


def test_an_upstream_that_dribbles_its_head_is_heard_out_and_holds_up_nobody(station, agent, upstream):
    other = station.agent("task-2")
    answer = PLAIN + b'x-slow: yes\r\ncontent-length: 7\r\n\r\n{"n":1}'

    def dribble(visit):
        upstream.answer = lambda visit: visit.respond(body=b"[]")
        for number, byte in enumerate(answer):
            if number in (10, 30, 80):
                assert other.call().body == b"[]"
            visit.send(bytes([byte]))

    upstream.answer = dribble
    got = agent.call()
    [capture], others = station.end(agent), station.end(other)

    assert (got.status, got.body, got.values("x-slow")) == (200, b'{"n":1}', ["yes"])
    assert (capture.response.text, capture.response.head["complete"]) == (b'{"n":1}', True)
    assert [each.response.text for each in others] == [b"[]"] * 3


def test_an_agent_that_half_closes_has_left(station, agent, upstream, until):
    upstream.answer = lambda visit: visit.hang()
    with agent.dial(agent.head("/v1/chat/completions", "content-length: 2") + b"{}") as sock:
        until(lambda: upstream.visits)
        sock.shutdown(socket.SHUT_WR)
        assert upstream.visits[0].gone.wait(60)
        assert sock.recv(100) == b""
    until(lambda: not agent.lease.in_flight)
    [capture] = station.end(agent)
    assert (capture.response.head["status_code"], capture.response.head["error"]) == (None, "client_gone")


def test_an_agent_that_half_closes_in_its_request_has_made_no_call(station, agent, upstream):
    with agent.dial(agent.head("/v1/chat/completions", "content-length: 2") + b"{") as sock:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert upstream.visits == station.end(agent) == []


def test_an_agent_that_resets_ends_the_upstream_call(station, agent, upstream, until):
    upstream.answer = lambda visit: (visit.send(CHUNKED + b"2\r\n{}\r\n"), visit.hang())
    sock = agent.dial(agent.head("/v1/chat/completions", "content-length: 2") + b"{}")
    until(lambda: upstream.visits)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    assert upstream.visits[0].gone.wait(60)
    until(lambda: not agent.lease.in_flight)
    [capture] = station.end(agent)
    assert (capture.response.head["complete"], capture.response.head["error"]) == (False, "client_gone")


SMUGGLED = {
    "length and chunks": ["content-length: 2", "transfer-encoding: chunked"],
    "two lengths": ["content-length: 2", "content-length: 3"],
    "a length of letters": ["content-length: two"],
    "a coding unknown": ["transfer-encoding: chunked, identity"],
    "a coding of the connection": ["transfer-encoding: gzip, chunked"],
    "a coding in a line of its own": ["transfer-encoding: gzip", "transfer-encoding: chunked"],
}


@pytest.mark.parametrize("lines", SMUGGLED.values(), ids=SMUGGLED)
def test_a_request_whose_end_is_not_clear_is_400_and_reaches_nobody(station, agent, upstream, hear, lines):
    with agent.dial(agent.head("/v1/chat/completions", *lines) + b"{}\r\n\r\n") as sock:
        assert hear(sock).status == 400
    assert upstream.visits == station.end(agent) == []


@pytest.mark.parametrize("more", [b"no HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 66_000])
def test_what_an_agent_sends_behind_its_request_is_not_answered_within_the_answer(
    station, agent, upstream, until, more
):
    upstream.answer = lambda visit: (visit.send(CHUNKED + b"2\r\n{}\r\n"), visit.hang())
    with agent.dial(agent.head("/v1/chat/completions", "content-length: 2") + b"{}") as sock:
        got = b""
        while not got.endswith(b"{}\r\n"):
            got += sock.recv(1000)
        # It is reset where something was not read yet.
        with contextlib.suppress(ConnectionError):
            sock.sendall(more)
            assert sock.recv(1000) == b""
    assert upstream.visits[0].gone.wait(60)
    until(lambda: not agent.lease.in_flight)
    [capture] = station.end(agent)
    assert (capture.response.head["error"], stored(capture.response)) == ("client_gone", b"{}")


def test_an_answer_that_comes_before_its_request_was_read_reaches_the_agent(make_station):
    body = b'"' + b"x" * (8 << 20) + b'"'
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def refuse():
            sock, _ = listener.accept()
            with sock:
                sock.recv(1000)
                sock.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
                done.wait(60)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        station = make_station(f"http://127.0.0.1:{listener.getsockname()[1]}")
        agent = station.agent()
        got = agent.call(body=body)
        done.set()
        [capture] = station.end(agent)
        thread.join(60)
    assert (got.status, got.body, got.broken) == (413, b"{}", False)
    assert (capture.response.head["status_code"], capture.response.text) == (413, b"{}")
    assert capture.request.text == body


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_may_have_no_body_has_none_whatever_it_says(station, agent, upstream, status):
    upstream.answer = lambda visit: visit.start(status, [("content-length", "7"), ("x-kept", "1")])
    got = agent.call()
    upstream.answer = lambda visit: visit.respond(body=b"[2]")
    assert agent.call().body == b"[2]"
    first, second = station.end(agent)
    assert (got.status, got.body, got.values("x-kept")) == (status, b"", ["1"])
    assert (first.response.head["status_code"], first.response.head["complete"]) == (status, True)
    assert (first.response.head["response_bytes"], stored(first.response)) == (0, b"")
    assert second.response.text == b"[2]"


def test_an_upstream_that_switches_protocols_unasked_is_502(station, agent, upstream):
    upstream.answer = play(
        [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", half_close]
    )
    got = agent.call()
    [capture] = station.end(agent)
    assert (got.status, capture.response.head["status_code"]) == (502, 502)
    assert capture.response.head["error"] == "bad_gateway"
    assert capture.response.text == got.body
