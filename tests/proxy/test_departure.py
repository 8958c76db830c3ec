from __future__ import annotations

import asyncio

import pytest

from pytest_agentcap.proxy.departure import Departure


async def never():
    await asyncio.Event().wait()


def test_who_watches_is_told_once_and_who_stopped_is_not():
    told = []
    departure = Departure()
    first, second = lambda: told.append(1), lambda: told.append(2)
    departure.watch(first)
    departure.watch(second)
    departure.unwatch(second)
    departure.happen()
    assert told == [1]


def test_who_comes_late_is_told_at_once():
    told = []
    departure = Departure()
    departure.happen()
    departure.watch(lambda: told.append(1))
    assert told == [1]


def test_all_requests_of_a_connection_have_one_departure():
    departure = Departure()
    scopes = [{"type": "http"}, {"type": "http"}]
    for scope in scopes:
        departure.put_into(scope)
    assert all(Departure.of(scope, never) is departure for scope in scopes)


def test_without_our_own_protocol_the_endpoint_is_asked():
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def work():
        gone = asyncio.Event()
        Departure.of({"type": "http"}, receive).watch(gone.set)
        async with asyncio.timeout(60):
            await gone.wait()
        # A call that ended leaves nothing behind that waits.
        departure = Departure.of({"type": "http"}, never)
        departure.watch(gone.set)
        departure.unwatch(gone.set)
        await asyncio.sleep(0)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.cancelling()]

    assert asyncio.run(work()) == []


@pytest.mark.parametrize("answered", [False, True])
def test_an_agent_that_leaves_is_noticed_without_httptools_too(make_station, upstream, until, monkeypatch, answered):
    def answer(visit):
        if answered:
            visit.start_stream()
            visit.chunk(b"data: 1\n\n")
        visit.hang()

    upstream.answer = answer
    monkeypatch.setattr("pytest_agentcap.proxy.server._http_protocol", lambda: "h11")
    station = make_station(upstream.url)
    agent = station.agent()
    connection = agent.open(body=b'"' + b"x" * 300_000 + b'"')
    until(lambda: upstream.visits)
    if answered:
        assert connection.getresponse().read1(100) == b"data: 1\n\n"
    connection.close()
    assert upstream.visits[0].gone.wait(60)
    until(lambda: not agent.lease.in_flight)
    [capture] = station.end(agent)
    assert capture.response.head["error"] == "client_gone"


def test_an_agent_that_leaves_after_a_long_request_is_noticed(station, agent, upstream, until):
    upstream.answer = lambda visit: visit.hang()
    connection = agent.open(body=b'"' + b"x" * 3_000_000 + b'"')
    until(lambda: upstream.visits)
    connection.close()
    assert upstream.visits[0].gone.wait(60)
    until(lambda: not agent.lease.in_flight)
    [capture] = station.end(agent)
    assert (capture.response.head["error"], len(capture.request.text)) == ("client_gone", 3_000_002)
