from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.server import CaptureProxy

EVENT = b"data: 1\n\n"


@pytest.fixture
def short_drain(monkeypatch):
    monkeypatch.setattr("pytest_agentcap.proxy.server.DRAIN_S", 0.2)


def test_a_unix_socket_is_served(station, upstream, tmp_path_factory):
    agent = station.agent()
    path = tmp_path_factory.mktemp("s") / "model.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    endpoint = station.proxy.listen(listener)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(
            f"POST /{agent.lease.token}/v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n[]".encode()
        )
        response = http.client.HTTPResponse(client)
        response.begin()
        assert (response.status, response.read()) == (200, b"[]")
    endpoint.close()

    [capture] = station.end(agent)
    assert capture.request.text == b"[]"


def test_a_closed_endpoint_takes_no_connection_and_others_go_on(station):
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    endpoint = station.proxy.listen(listener)
    agent = station.agent()
    endpoint.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert agent.call().status == 200


def test_parallel_calls_of_one_session_have_an_order(station, upstream):
    agent = station.agent()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: agent.call(body=b"[%d]" % n), range(40)))
    captures = station.end(agent)

    assert [capture.request.head["call_index"] for capture in captures] == list(range(1, 41))
    assert sorted(json.loads(capture.request.text)[0] for capture in captures) == list(range(40))
    assert all(capture.response.text == capture.request.text for capture in captures)


def test_a_late_call_lands_on_its_own_session(station, upstream, until):
    go_on = threading.Event()

    def answer(visit):
        if visit.body == b"[1]":
            go_on.wait(60)
        visit.respond(body=visit.body)

    upstream.answer = answer
    early, late = station.agent("task-1"), station.agent("task-2")
    connection = early.open(body=b"[1]")
    until(lambda: upstream.visits)
    late.call(body=b"[2]")
    go_on.set()
    assert connection.getresponse().read() == b"[1]"
    connection.close()

    [first], [second] = station.end(early), station.end(late)
    assert (first.request.head["task_id"], first.response.text) == ("task-1", b"[1]")
    assert (second.request.head["task_id"], second.response.text) == ("task-2", b"[2]")


def test_after_its_lease_is_revoked_an_agent_gets_403(station, agent, upstream):
    connection = agent.open()
    assert connection.getresponse().read() == b"{}"
    station.end(agent)
    connection.request("POST", f"/{agent.lease.token}/v1/chat/completions", b"{}")
    assert connection.getresponse().status == 403
    connection.close()

    assert agent.call("/v1/models", None, method="GET").status == 403
    assert station.proxy.leases.refused == 2
    assert len(upstream.visits) == 1


def test_a_call_that_ends_while_its_lease_is_revoked_is_complete(station, agent, upstream, until):
    go_on = threading.Event()

    def answer(visit):
        go_on.wait(60)
        visit.respond(body=b"[1]")

    upstream.answer = answer
    connection = agent.open()
    until(lambda: agent.lease.in_flight)
    threading.Timer(0.1, go_on.set).start()
    [capture] = station.end(agent)

    assert connection.getresponse().read() == b"[1]"
    connection.close()
    assert (capture.response.text, capture.response.head["complete"]) == (b"[1]", True)


def test_calls_in_flight_when_a_lease_is_revoked_are_cut_as_shutdown(station, agent, upstream, until, short_drain):
    def answer(visit):
        if visit.body == b"[1]":
            visit.start_stream()
            visit.chunk(EVENT)
        visit.hang()

    upstream.answer = answer
    stream, waiting = agent.open(body=b"[1]"), agent.open(body=b"[2]")
    response = stream.getresponse()
    assert response.read1(100) == EVENT
    until(lambda: len(upstream.visits) == 2)
    captures = sorted(station.end(agent), key=lambda capture: capture.request.text)

    assert all(visit.gone.wait(60) for visit in upstream.visits)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    stream.close()
    waiting.close()
    assert [capture.response.head["error"] for capture in captures] == ["shutdown", "shutdown"]
    assert [capture.response.head["status_code"] for capture in captures] == [200, None]
    assert json.loads(captures[0].response.text).encode() == EVENT


def test_what_is_not_recorded_is_cut_too_when_a_lease_is_revoked(station, agent, upstream, until, short_drain):
    def answer(visit):
        visit.start_stream()
        visit.chunk(EVENT)
        visit.hang()

    upstream.answer = answer
    connection = agent.open("/v1/events", None, method="GET")
    response = connection.getresponse()
    assert response.read1(100) == EVENT
    assert station.end(agent) == []

    assert upstream.visits[0].gone.wait(60)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()


def test_calls_that_a_closing_endpoint_cuts_are_recorded(station, agent, upstream, until):
    def answer(visit):
        visit.start_stream()
        visit.chunk(EVENT)
        visit.hang()

    upstream.answer = answer
    connection = agent.open()
    response = connection.getresponse()
    assert response.read1(100) == EVENT
    station.endpoint.close()
    until(lambda: not agent.lease.in_flight)
    response.close()
    connection.close()
    [capture] = station.end(agent)

    assert upstream.visits[0].gone.wait(60)
    assert capture.response.head["error"] == "shutdown"
    assert json.loads(capture.response.text).encode() == EVENT


def test_a_session_has_one_lease_at_a_time(station, agent):
    with pytest.raises(FileExistsError):
        station.proxy.grant(agent.pairs.journal, {"task_id": "task-1"})


def test_whoever_asks_is_told_of_every_call_that_ended(station, upstream):
    ended = []
    lease = station.proxy.grant(station.captures / "x.journal", {"task_id": "x"})
    lease.on_end = ended.append
    connection = http.client.HTTPConnection(*station.address)
    connection.request("POST", f"/{lease.token}/v1/chat/completions", b"{}")
    assert connection.getresponse().status == 200
    connection.close()
    station.proxy.revoke(lease)

    assert [(call.index, call.status) for call in ended] == [(1, 200)]


def test_an_embedded_servers_address_is_not_recorded(upstream, tmp_path):
    proxy = CaptureProxy(Upstream(upstream.url), recorded_as="scripted")
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    endpoint = proxy.listen(listener)
    lease = proxy.grant(tmp_path / "x.journal", {"task_id": "x"})
    connection = http.client.HTTPConnection(*address)
    connection.request("POST", f"/{lease.token}/v1/chat/completions", b"{}")
    assert connection.getresponse().status == 200
    connection.close()
    proxy.revoke(lease)
    endpoint.close()
    proxy.close()

    recorded = (tmp_path / "x.journal").read_bytes()
    assert b'"upstream_url":"scripted"' in recorded


def test_a_proxy_that_cannot_start_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(FileNotFoundError):
        CaptureProxy(Upstream("https://localhost:1"))


def test_nothing_is_left_open_when_a_proxy_is_closed(upstream, tmp_path, open_files):
    def use(number):
        proxy = CaptureProxy(Upstream(upstream.url))
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        endpoint = proxy.listen(listener)
        lease = proxy.grant(tmp_path / f"{number}.journal", {"task_id": "x"})
        connection = http.client.HTTPConnection(*address)
        connection.request("POST", f"/{lease.token}/v1/chat/completions", b"{}")
        assert connection.getresponse().read() == b"{}"
        connection.close()
        proxy.revoke(lease)
        endpoint.close()
        proxy.close()
        upstream.disconnect()

    use(0)
    before, threads = open_files(), threading.active_count()
    for number in range(1, 4):
        use(number)
    assert open_files() <= before
    assert threading.active_count() <= threads


LEFT_OPEN = """
import functools, os, socket, sys
from pathlib import Path
from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.server import CaptureProxy

def fixture(write):
    proxy = CaptureProxy(Upstream("http://127.0.0.1:9"))
    endpoint = proxy.listen(socket.create_server(("127.0.0.1", 0)))
    lease = proxy.grant(Path(sys.argv[1]), {})
    try:
        yield
    finally:
        endpoint.close()
        proxy.revoke(lease)
        write(b"closed")

left = fixture(functools.partial(os.write, 1))
next(left)
"""


def test_a_session_that_is_closed_by_the_end_of_python_waits_for_no_thread(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, str(tmp_path / "s.journal")], capture_output=True, timeout=60
    )
    assert done.stdout == b"closed", done.stderr
