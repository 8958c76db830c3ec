from __future__ import annotations

import json
import resource
import socket
import threading

import pytest

from pytest_agentcap.runs.frames import REQUEST, RESPONSE, read_frames

EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'


def test_an_agent_that_leaves_before_the_answer_ends_the_upstream_call(station, agent, upstream, until):
    upstream.answer = lambda visit: visit.hang()
    connection = agent.open()
    until(lambda: upstream.visits)
    connection.close()

    assert upstream.visits[0].gone.wait(60)
    until(lambda: not agent.lease.in_flight)
    [capture] = station.end(agent)
    assert capture.response.head["error"] == "client_gone"
    assert capture.response.head["complete"] is False
    assert capture.response.head["status_code"] is None


def test_an_agent_that_leaves_in_a_stream_ends_the_upstream_call(station, agent, upstream, until):
    def answer(visit):
        visit.start_stream()
        visit.chunk(EVENT)
        visit.hang()

    upstream.answer = answer
    connection = agent.open()
    response = connection.getresponse()
    assert response.read1(1000) == EVENT
    response.close()
    connection.close()

    assert upstream.visits[0].gone.wait(60)
    until(lambda: not agent.lease.in_flight)
    [call] = agent.lease.calls
    [capture] = station.end(agent)
    assert (call.status, call.error) == (200, "client_gone")
    assert capture.response.head["error"] == "client_gone"
    assert json.loads(capture.response.text).encode() == EVENT


def test_an_agent_that_leaves_an_unrecorded_call_ends_it_too(agent, upstream, until):
    upstream.answer = lambda visit: visit.hang()
    connection = agent.open("/v1/models", None, method="GET")
    until(lambda: upstream.visits)
    connection.close()
    assert upstream.visits[0].gone.wait(60)


def test_an_agent_that_stops_reading_does_not_hold_up_others(station, agent, upstream, until):
    def answer(visit):
        visit.start_stream()
        while True:
            visit.chunk(b"x" * 65536)

    upstream.answer = answer
    stuck = agent.open()
    until(lambda: upstream.visits)
    upstream.answer = lambda visit: visit.respond(body=b"[]")
    other = station.agent("task-2")
    assert other.call().body == b"[]"

    stuck.close()
    until(lambda: not agent.lease.in_flight)
    assert agent.lease.calls[0].error == "client_gone"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/chat/completions", lambda body: body["error"]["message"]),
        ("/v1/responses", lambda body: body["error"]["message"]),
        ("/v1/messages", lambda body: {"error": body["error"]["message"]}[body["type"]]),
        ("/v1beta/models/g:generateContent", lambda body: {502: body["error"]["message"]}[body["error"]["code"]]),
        ("/v1/models", lambda body: body["error"]["message"]),
    ],
)
def test_an_unreachable_upstream_is_502_in_the_apis_own_shape(make_station, refused_url, path, message):
    station = make_station(refused_url)
    agent = station.agent()
    answer = agent.call(path)

    assert answer.status == 502
    assert answer.values("content-type") == ["application/json"]
    assert message(json.loads(answer.body)).startswith("agentcap: the upstream is not reachable")
    for capture in station.end(agent):
        assert (capture.response.head["status_code"], capture.response.head["error"]) == (502, "upstream_refused")
        assert capture.response.head["complete"] is False
        assert capture.response.text == answer.body


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda visit: visit.sock.shutdown(socket.SHUT_RDWR), "upstream_reset"),
        (lambda visit: visit.reset(), "upstream_reset"),
        (lambda visit: visit.send(b"HTTP/1.1 200 OK\r\nx: "), "upstream_timeout"),
        (lambda visit: visit.hang(), "upstream_timeout"),
        (lambda visit: visit.send(b"SMTP ready\r\n\r\n"), "bad_gateway"),
    ],
    ids=["closed", "reset", "half a head", "silent", "not HTTP"],
)
def test_an_upstream_that_fails_before_its_head_is_502(make_station, upstream, monkeypatch, act, kind):
    monkeypatch.setattr("pytest_agentcap.proxy.client.READ_TIMEOUT_S", 0.5)
    upstream.answer = act
    station = make_station(upstream.url)
    agent = station.agent()
    answer = agent.call()
    [capture] = station.end(agent)

    assert answer.status == 502
    assert capture.response.head["error"] == kind
    assert capture.response.text == answer.body


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda visit: visit.sock.shutdown(socket.SHUT_RDWR), "upstream_reset"),
        (lambda visit: visit.reset(), "upstream_reset"),
        (lambda visit: visit.hang(), "upstream_timeout"),
        (lambda visit: visit.send(b"zz\r\n"), "bad_gateway"),
    ],
    ids=["closed", "reset", "silent", "no chunk"],
)
def test_an_answer_that_breaks_off_breaks_off_for_the_agent_and_is_stored(
    make_station, upstream, monkeypatch, until, act, kind
):
    monkeypatch.setattr("pytest_agentcap.proxy.client.READ_TIMEOUT_S", 0.5)
    received = threading.Event()

    def answer(visit):
        visit.start_stream()
        visit.chunk(EVENT)
        received.wait(60)
        act(visit)

    upstream.answer = answer
    station = make_station(upstream.url)
    agent = station.agent()
    connection = agent.open()
    response = connection.getresponse()
    assert response.read1(1000) == EVENT
    received.set()
    with pytest.raises(Exception, match=r"IncompleteRead"):
        response.read()
    connection.close()
    [capture] = station.end(agent)

    assert response.status == capture.response.head["status_code"] == 200
    assert (capture.response.head["complete"], capture.response.head["error"]) == (False, kind)
    assert json.loads(capture.response.text).encode() == EVENT


def test_an_answer_shorter_than_its_content_length_is_not_complete(station, agent, upstream):
    def answer(visit):
        visit.start(200, [("content-length", "10")])
        visit.send(b"{}")
        visit.sock.shutdown(socket.SHUT_RDWR)

    upstream.answer = answer
    got = agent.call()
    [capture] = station.end(agent)

    assert (got.body, got.broken) == (b"{}", True)
    assert capture.response.head["error"] == "upstream_reset"
    assert capture.response.text == b"{}"


def test_an_answer_that_http_has_no_status_for_is_recorded(station, agent, upstream):
    upstream.answer = lambda visit: visit.respond(999)
    with pytest.raises(ConnectionError):
        agent.call()
    [capture] = station.end(agent)

    assert (capture.response.head["status_code"], capture.response.head["error"]) == (999, "bad_gateway")


@pytest.fixture
def fill_disk():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(path, room):
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 50, 3000])
def test_a_call_that_cannot_be_recorded_is_507_and_reaches_nobody(station, agent, upstream, fill_disk, until, room):
    agent.call()
    # The end of a call is recorded just after the agent has it.
    until(lambda: not agent.lease.in_flight)
    fill_disk(agent.pairs.journal, room)
    refused = agent.call(body=b'"' + b"x" * 5000 + b'"')
    fill_disk(agent.pairs.journal, 1 << 20)
    assert agent.call(body=b"[]").status == 200
    captures = station.end(agent)

    assert refused.status == 507
    assert "cannot record the call" in json.loads(refused.body)["error"]["message"]
    assert [visit.body for visit in upstream.visits] == [b"{}", b"[]"]
    assert [call.error for call in agent.lease.calls] == [None, "unrecorded", None]
    assert "cannot record" in agent.lease.fault
    assert [captures[number].response.text for number in (0, 2)] == [b"{}", b"[]"]
    assert not (station.captures / f"{captures[1].rid}.request.json").exists()


def test_a_stream_that_cannot_be_recorded_any_longer_is_cut(station, agent, upstream, fill_disk, until):
    def answer(visit):
        visit.start_stream()
        fill_disk(agent.pairs.journal, 500_000)
        while True:
            visit.chunk(b"x" * 100_000)

    upstream.answer = answer
    connection = agent.open()
    response = connection.getresponse()
    with pytest.raises(Exception, match="IncompleteRead"):
        response.read()
    connection.close()
    until(lambda: not agent.lease.in_flight)

    assert agent.lease.calls[0].error == "unrecorded"
    assert "cannot record" in agent.lease.fault


def test_our_own_502_is_recorded_before_the_agent_has_it(make_station, refused_url):
    station = make_station(refused_url)
    agent = station.agent()
    for _ in range(50):
        assert agent.call().status == 502
        with agent.lease.journal.path.open("rb") as file:
            kinds = [frame.kind for frame in read_frames(file)]
        assert kinds.count(RESPONSE) == kinds.count(REQUEST)
