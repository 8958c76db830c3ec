from __future__ import annotations

import pytest

from pytest_agentcap.conversation.session import read_conversation
from pytest_agentcap.telemetry.tools import tool_spans

SECOND = 1_000_000_000


@pytest.fixture
def session(new_session):
    return new_session()


def spans_of(session):
    return tool_spans(read_conversation(session.records))


def test_a_tool_call_ran_between_its_answer_and_the_next_request_of_its_thread(session):
    asked = session.says(None, ("c1", {"command": "ls"}))
    messages = [session.SYSTEM, session.user("look")]
    first = session.call(messages, asked)
    session.call([session.user("title?")], session.says("Looking"), tools=None)
    told = session.call([*messages, asked, session.result("c1", "exit code: 2\nno")], session.says("done"))
    (span,) = spans_of(session)
    assert (span.span_id, span.request_id, span.result_id) == (f"{first.rid}-0", first.rid, told.rid)
    assert (span.window_start_ns, span.window_end_ns, span.timing) == (SECOND * 3 // 2, SECOND * 3, "window")
    assert span.duration_s == pytest.approx(1.5)
    assert (span.name, span.arguments, span.output) == ("bash", '{"command": "ls"}', "exit code: 2\nno")
    assert (span.exit_code, span.exit_code_source) == (2, "text")
    assert (span.resources.source, span.resources.quality, span.resources.cpu_s) == ("none", "none", None)


def test_tool_calls_of_one_answer_share_their_window(session):
    asked = session.says(None, ("c1", {"command": "a"}), ("c2", {"command": "b"}))
    messages = [session.SYSTEM, session.user("both")]
    session.call(messages, asked)
    session.call([*messages, asked, session.result("c2", "B"), session.result("c1", "A")], session.says("done"))
    spans = spans_of(session)
    assert [(s.call_id, s.output, s.timing, s.position) for s in spans] == [
        ("c1", "A", "shared", 0),
        ("c2", "B", "shared", 1),
    ]
    assert spans[0].window_end_ns == spans[1].window_end_ns


def test_a_tool_call_without_a_result_is_told_without_an_end(session):
    session.call([session.user("go")], session.says(None, ("c1", {"command": "a"})))
    (span,) = spans_of(session)
    assert (span.result_id, span.output, span.window_end_ns, span.ended_at_ns, span.timing) == (
        None, None, None, None, "none",
    )  # fmt: skip
    assert (span.exit_code, span.exit_code_source) == (None, None)


def test_a_result_that_a_retry_tells_again_ends_its_window_once(session):
    asked = session.says(None, ("c1", {"command": "a"}))
    messages = [session.SYSTEM, session.user("go")]
    session.call(messages, asked)
    told = [*messages, asked, session.result("c1", "A")]
    session.call(told, None)
    session.call(told, session.says("done"))
    (span,) = spans_of(session)
    assert span.window_end_ns == 2 * SECOND
