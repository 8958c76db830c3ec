from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import shutil
import threading
import time
from email.utils import formatdate

import pytest

from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.leases import Waiting
from pytest_agentcap.proxy.ratelimit import LONGEST_PAUSE_S, RateLimit, clear_up, retry_after_s
from pytest_agentcap.sandbox.reaper import state_root


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "upstream"


@pytest.fixture
def make_limit(folder):
    made = []

    def make(concurrency=None):
        made.append(RateLimit(folder, concurrency))
        return made[-1]

    yield make
    for limit in made:
        limit.close()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7),
        ([(b"retry-after", b"1.5")], 1.5),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"7")], 0.25),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"Wed, 21 Oct 2015 07:28:00 GMT")], 0),
    ],
)
def test_how_long_an_upstream_wants_to_be_let_alone(headers, seconds):
    assert retry_after_s(headers) == seconds


def test_a_date_is_counted_from_now():
    seconds = retry_after_s([(b"retry-after", formatdate(time.time() + 100, usegmt=True).encode())])
    assert seconds is not None
    assert 90 < seconds <= 101


def test_a_pause_is_everybodys_and_the_longest_stays(make_limit):
    one, other = make_limit(), make_limit()
    assert other.pause_s() <= 0
    one.hold_back(30)
    assert 0 < other.pause_s() <= 30
    other.hold_back(1)
    assert one.pause_s() > 1
    one.hold_back(1e9)
    assert other.pause_s() <= LONGEST_PAUSE_S


def _hold_back(folder):
    RateLimit(folder).hold_back(30)


def test_a_pause_is_seen_by_other_processes(folder, make_limit):
    limit = make_limit()
    process = multiprocessing.get_context("spawn").Process(target=_hold_back, args=(folder,))
    process.start()
    process.join()
    assert limit.pause_s() > 0


def test_what_is_shared_is_of_an_upstreams_origin_and_key(tmp_path):
    names = [("http://u/v1", "sk-1"), ("http://u", "sk-1"), ("http://u", "sk-2"), ("http://v", "sk-1")]
    one, same, other_key, other = (RateLimit.of(Upstream(*name), tmp_path) for name in names)
    one.hold_back(30)
    assert same.pause_s() > 0
    assert max(other_key.pause_s(), other.pause_s()) <= 0
    assert not [path for path in tmp_path.glob("*/*") if "sk-" in path.name or path.stat().st_mode & 0o077]
    for limit in (one, same, other_key, other):
        limit.close()


def test_a_pause_outlives_whoever_was_told_of_it_and_the_last_user_clears_up(folder):
    one, other = RateLimit(folder), RateLimit(folder, 2)
    one.close()
    assert folder.exists()
    other.close()
    assert not folder.exists()
    told = RateLimit(folder)
    told.hold_back(30)
    told.close()
    later = RateLimit(folder)
    assert later.pause_s() > 0
    later.close()


def test_what_killed_processes_left_is_taken_away_and_nothing_that_counts(tmp_path):
    used, paused, left = (RateLimit.of(Upstream(f"http://{name}"), tmp_path) for name in "abc")
    paused.hold_back(30)
    paused.close()
    # What a process that is killed does not do.
    os.close(left._in_use)
    clear_up(tmp_path)
    assert [limit.folder.exists() for limit in (used, paused, left)] == [True, True, False]
    used.close()


def test_a_pause_of_before_the_machine_was_started_holds_nobody_back(make_limit, monkeypatch):
    limit = make_limit()
    limit.hold_back(30)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now - 10_000)
    assert limit.pause_s() <= 0
    limit.hold_back(5)
    assert 0 < limit.pause_s() <= 5


def test_calls_that_still_wait_count_as_waited():
    waiting = Waiting()
    waiting.begin()
    waiting.begin()
    waiting.end()
    before = waiting.total_s
    assert waiting.total_s > before > 0
    waiting.end()
    assert waiting.total_s == waiting.total_s


def test_after_a_429_the_calls_of_all_proxies_wait_and_the_time_is_told(make_station, make_limit, upstream):
    answers = [(429, [("retry-after-ms", "200")]), (200, [])]
    upstream.answer = lambda visit: visit.respond(*answers[min(len(upstream.visits), 2) - 1])
    first, other = (make_station(upstream.url, limit=make_limit()) for _ in range(2))
    refused, held = first.agent("a"), other.agent("b")
    assert refused.call().status == 429
    assert held.call().status == 200
    assert held.lease.waiting.total_s > 0
    assert refused.lease.waiting.total_s == 0
    [capture] = other.end(held)
    assert capture.response.head["waited_ms"] > 0
    assert capture.response.head["waited_ms"] <= capture.response.head["duration_ms"]
    [capture] = first.end(refused)
    assert "waited_ms" not in capture.response.head


def test_another_pytest_session_on_the_machine_is_held_back_too(project, make_station, upstream):
    upstream.answer = lambda visit: visit.respond(*((429, [("retry-after", "300")]) if visit.body else (200, [])))
    # A key that nobody else has: what is shared is the machine's.
    key = f"sk-{secrets.token_hex(16)}"
    limit = RateLimit.of(Upstream(upstream.url, key), state_root())
    try:
        assert make_station(upstream.url, key, limit).agent().call().status == 429
        asked = len(upstream.visits)
        project.write_shell_agent()
        project.write_jsonl({"id": "t", "input": "python3 call hi"})
        # Long enough for the agent to make its call on a busy machine.
        words = ("--agent", "shell", "--sandbox", "host", "--turn-timeout", "4")
        project.pytest(*words, "--model", "m", "--upstream", upstream.url, "--api-key", key).assert_outcomes(failed=1)
        [result] = project.results()
        assert result["verdict"] == "infra"
        assert "calls were held back for" in result["reason"]
        assert result["waited_s"] > 0
        assert all(not visit.body for visit in upstream.visits[asked:])
    finally:
        shutil.rmtree(limit.folder)
        limit.close()


def test_a_429_without_a_time_holds_nobody_back(make_station, make_limit, upstream):
    limit = make_limit()
    upstream.answer = lambda visit: visit.respond(429)
    assert make_station(upstream.url, limit=limit).agent().call().status == 429
    assert limit.pause_s() <= 0


def test_an_agent_that_leaves_while_it_waits_is_recorded_and_nothing_goes_upstream(
    make_station, make_limit, upstream, until
):
    limit = make_limit(1)
    limit.hold_back(600)
    station = make_station(upstream.url, limit=limit)
    agent = station.agent()
    connection = agent.open()
    until(lambda: agent.lease.in_flight)
    connection.close()
    until(lambda: not agent.lease.in_flight)
    assert agent.lease.calls[0].error == "client_gone"
    assert upstream.visits == []
    assert limit.place_at_once() is not None


def test_no_more_calls_than_allowed_are_at_the_upstream_over_all_proxies(make_station, make_limit, upstream, until):
    release = threading.Semaphore(0)

    def answer(visit):
        release.acquire()
        visit.respond()

    upstream.answer = answer
    stations = [make_station(upstream.url, limit=make_limit(2)) for _ in range(2)]
    agents = [station.agent(f"{number}-{n}") for number, station in enumerate(stations) for n in range(3)]
    connections = [agent.open() for agent in agents]
    until(lambda: len(upstream.visits) == 2 and all(agent.lease.in_flight for agent in agents))
    for done in range(1, 7):
        release.release()
        until(lambda done=done: len(upstream.visits) == min(done + 2, 6))
    assert [connection.getresponse().status for connection in connections] == [200] * 6
    for connection in connections:
        connection.close()


class Spent:
    def refusal(self):
        return "the session's 2 calls are used up (--max-calls)"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_call_that_the_allowance_refuses_is_a_429_of_the_api_and_no_capture(agent, station, upstream, path):
    agent.lease.allowance = Spent()
    answer = agent.call(path)
    assert (answer.status, answer.values("x-should-retry")) == (429, ["false"])
    assert "2 calls are used up" in json.loads(answer.body)["error"]["message"]
    assert upstream.visits == []
    assert agent.call("/v1/models", None, "GET").status == 200
    assert station.end(agent) == []
