"""Many sessions at once, each with sub-agents and with calls that outlive their turn: whose call is it?"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

SESSIONS = 64


def test_64_sessions_with_sub_agents_and_calls_that_outlive_their_turn_keep_them_apart(station, upstream, until):
    together = threading.Barrier(SESSIONS)
    turn_2_is_over = [threading.Event() for _ in range(SESSIONS)]

    def answer(visit):
        number, _, who = json.loads(visit.body)
        if who == "late":
            assert turn_2_is_over[number].wait(60)
        if who.startswith("sub"):
            visit.start_stream()
            visit.chunk(b"data: ")
            visit.chunk(visit.body + b"\n\n")
            visit.end()
        else:
            visit.respond(200, [("content-type", "application/json")], visit.body)

    def work(number):
        agent = station.agent(f"task-{number}")
        together.wait(60)

        def call(turn, who, path="/v1/chat/completions"):
            body = json.dumps([number, turn, who]).encode()
            assert body in agent.call(path, body).body

        with ThreadPoolExecutor(3) as threads:
            late = threads.submit(call, 1, "late", "/v1/messages")
            until(lambda: len(agent.lease.calls) == 1)
            subs = [threads.submit(call, 1, f"sub {name}", "/v1/responses") for name in "ab"]
            call(1, "main")
            for sub in subs:
                sub.result()
            agent.lease.turn = 2
            call(2, "main")
            turn_2_is_over[number].set()
            late.result()
        return station.end(agent)

    upstream.answer = answer
    with ThreadPoolExecutor(SESSIONS) as pool:
        sessions = list(pool.map(work, range(SESSIONS)))

    assert len({capture.rid for session in sessions for capture in session}) == 5 * SESSIONS
    assert len(list(station.captures.iterdir())) == 2 * 5 * SESSIONS
    for number, session in enumerate(sessions):
        assert [capture.request.head["call_index"] for capture in session] == [1, 2, 3, 4, 5]
        asked = [json.loads(capture.request.text) for capture in session]
        assert sorted(asked) == sorted(
            [number, turn, who] for turn, who in [(1, "late"), (1, "main"), (1, "sub a"), (1, "sub b"), (2, "main")]
        )
        for (_, turn, who), capture in zip(asked, session, strict=True):
            head = capture.request.head
            assert (head["task_id"], head["session"], head["turn"]) == (f"task-{number}", f"task-{number}", turn)
            told = json.loads(capture.response.text)
            assert told == (f"data: {json.dumps([number, turn, who])}\n\n" if "sub" in who else [number, turn, who])
            assert capture.response.head["complete"] is True


@pytest.fixture
def short_drain(monkeypatch):
    monkeypatch.setattr("pytest_agentcap.proxy.server.DRAIN_S", 0.2)


def test_a_call_that_outlives_its_session_is_cut_and_never_the_next_ones(station, upstream, until, short_drain):
    upstream.answer = lambda visit: visit.hang() if visit.body == b"[1]" else visit.respond(body=visit.body)
    first = station.agent("task-1")
    connection = first.open(body=b"[1]")
    until(lambda: upstream.visits)
    [cut] = station.end(first)
    second = station.agent("task-2")
    second.call(body=b"[2]")
    # Its lease is worth nothing any more, whoever uses the proxy now.
    assert first.call(body=b"[3]").status == 403
    [own] = station.end(second)
    connection.close()

    assert (cut.request.head["task_id"], cut.response.head["error"]) == ("task-1", "shutdown")
    assert (own.request.head["task_id"], own.request.text) == ("task-2", b"[2]")
    assert [visit.body for visit in upstream.visits] == [b"[1]", b"[2]"]
    assert upstream.visits[0].gone.wait(60)
