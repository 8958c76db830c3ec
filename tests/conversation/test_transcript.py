from __future__ import annotations

import pytest

from pytest_agentcap.conversation.session import read_conversation, transcript


@pytest.fixture
def session(new_session):
    return new_session()


def test_equal_messages_of_following_calls_are_one_object(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, session.says("which?"))
    session.call([*messages, session.says("which?"), session.user("fresh")], session.says("ok"))
    first, second = read_conversation(session.records).calls
    assert all(old is new for old, new in zip(first.conversation, second.request.messages[:3], strict=True))


def test_a_leaf_tells_what_the_model_said_as_it_said_it(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, session.says("which?", thinking="there are two"))
    session.call([*messages, session.says("which?"), session.user("fresh")], session.says("ok", thinking="good"))
    (leaf,) = read_conversation(session.records).leaves
    assert [message.thinking for message in leaf.messages] == ["", "", "there are two", "", "good"]


def test_a_call_that_was_tried_again_is_no_leaf(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, None)
    session.call(messages, session.says("done"))
    assert [leaf.call.record.facts["call_index"] for leaf in read_conversation(session.records).leaves] == [2]


def test_a_transcript_tells_each_message_once_and_when(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says(None, ("c1", {"command": "ls"}))
    session.call(messages, None)
    session.call(messages, asks)
    session.call([*messages, asks, session.result("c1", "a")], session.says("done"))
    (thread,) = read_conversation(session.records).threads
    entries = transcript(thread)
    assert [entry.message.role for entry in entries] == ["system", "user", "assistant", "tool", "assistant"]
    assert [entry.at_ns and entry.at_ns / 1e9 for entry in entries] == [1.0, 1.0, 2.5, 3.0, 3.5]


def test_a_rewritten_history_is_told_as_copied(session):
    summary = "The user wants milk. The shop is around the corner and closes at eight."
    session.call([session.SYSTEM, session.user("buy milk")], session.says("on my way"))
    session.call([session.user("summarize")], session.says(summary), tools=None)
    session.call([session.SYSTEM, session.user(f"So far: {summary}")], session.says("bought"))
    main = read_conversation(session.records).main
    assert main
    assert [(entry.message.role, entry.copied) for entry in transcript(main)] == [
        ("system", False),
        ("user", False),
        ("assistant", False),
        ("user", True),
        ("assistant", False),
    ]


def test_tool_calls_are_joined_to_their_results_by_id(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says(None, ("c1", {"command": "ls"}), ("c2", {"command": "cat"}))
    asked = session.call(messages, asks)
    after = [*messages, asks, session.result("c2", "text"), session.result("c1", "a b")]
    told = session.call(after, session.says(None, ("c3", {"command": "rm"})))
    uses = read_conversation(session.records).tool_uses
    assert [(use.call.id, use.result and use.result.text) for use in uses] == [
        ("c1", "a b"),
        ("c2", "text"),
        ("c3", None),
    ]
    assert (uses[0].asked_by.rid, uses[0].told_in and uses[0].told_in.rid) == (asked.rid, told.rid)
    assert (uses[0].started_at_ns, uses[0].ended_at_ns) == (1_500_000_000, 2_000_000_000)
    assert (uses[2].told_in, uses[2].ended_at_ns) == (None, None)


def test_a_result_that_was_tried_twice_to_be_told_is_joined_once(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says(None, ("c1", {"command": "ls"}))
    session.call(messages, asks)
    after = [*messages, asks, session.result("c1", "a")]
    failed = session.call(after, None)
    session.call(after, session.says("done"))
    (use,) = read_conversation(session.records).tool_uses
    assert use.told_in
    assert use.told_in.rid == failed.rid


def test_ids_that_the_agent_rewrote_are_joined_by_position(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, session.says(None, ("c1", {"command": "ls"})))
    after = [*messages, session.says(None, ("other", {"command": "ls"})), session.result("other", "a")]
    session.call(after, session.says("done"))
    (use,) = read_conversation(session.records).tool_uses
    assert use.result
    assert use.result.text == "a"
