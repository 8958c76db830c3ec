from __future__ import annotations

import pytest

from pytest_agentcap.conversation.canonical import canonical
from pytest_agentcap.conversation.model import Message, Text, Thinking, ToolCall, ToolResult
from pytest_agentcap.conversation.session import Conversation, read_conversation
from pytest_agentcap.conversation.threads import Thread


@pytest.fixture
def session(new_session):
    return new_session()


def read(session) -> Conversation:
    return read_conversation(reversed(session.records))


def told(thread: Thread) -> list[tuple[int, str, str]]:
    """Tell a thread's calls by number, relation and label."""
    return [(step.call.record.facts["call_index"], step.relation, step.label) for step in thread.steps]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Message("user", (Text("a b"),)), Message("user", (Text(" a b\n"),))),
        (Message("user", (Text("a"), Text("b"))), Message("user", (Text("a\n"), Text(""), Text("b")))),
        (Message("assistant", (Thinking("hm"), Text("a"))), Message("assistant", (Text("a"),))),
        (Message("user", (Text("a<system-reminder>\nx</system-reminder>"),)), Message("user", (Text("a"),))),
        (
            Message("assistant", (ToolCall("1", "f", '{"a":1,"b":2}'),)),
            Message("assistant", (ToolCall("2", "f", '{"b": 2, "a": 1}'),)),
        ),
        (
            Message("tool", (ToolResult("1", (Text("x"),)),)),
            Message("tool", (ToolResult("2", (Text("x"),), False, "f"),)),
        ),
    ],
)
def test_what_agents_change_without_saying_anything_else_is_the_same(first, second):
    assert canonical(first) == canonical(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Message("user", (Text("a"),)), Message("assistant", (Text("a"),))),
        (Message("user", (Text("a b"),)), Message("user", (Text("a  b"),))),
        (Message("assistant", (ToolCall("1", "f", "{}"),)), Message("assistant", (ToolCall("1", "g", "{}"),))),
        (Message("assistant", (ToolCall("1", "f", "{a"),)), Message("assistant", (ToolCall("1", "f", "{b"),))),
        (Message("tool", (ToolResult("1", (Text("x"),)),)), Message("tool", (ToolResult("1", (Text("y"),)),))),
    ],
)
def test_what_says_something_else_is_not(first, second):
    assert canonical(first) != canonical(second)


def test_a_conversation_that_grows_is_one_thread(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    first = session.says(None, ("c1", {"command": "ls"}), thinking="hm")
    session.call(messages, first)
    # The agent sends no thinking back, and other ids.
    messages = [*messages, session.says(None, ("other", {"command": "ls"})), session.result("other", "a")]
    session.call(messages, session.says("done"))
    session.call([*messages, session.says("done "), session.user("go on")], session.says("bye"))
    (thread,) = read(session).threads
    assert thread.kind == "main"
    assert told(thread) == [(1, "starts", "(init 2)"), (2, "continues", "(+2)"), (3, "continues", "(+2)")]


def test_the_same_request_again_is_a_retry(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, None)
    session.call(messages, session.says("done"))
    session.call([*messages, session.says("done"), session.user("go on")], session.says("bye"))
    (thread,) = read(session).threads
    assert told(thread) == [(1, "starts", "(init 2)"), (2, "retries", "(+0)"), (3, "continues", "(+2)")]
    assert thread.steps[2].previous is thread.calls[1]


def test_a_request_that_grew_over_a_failed_one_continues_it(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, None)
    session.call([*messages, session.user("please")], session.says("done"))
    (thread,) = read(session).threads
    assert told(thread) == [(1, "starts", "(init 2)"), (2, "continues", "(+1)")]


def test_an_answer_that_the_agent_tells_otherwise_is_continued(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, session.says("a long answer"))
    session.call([*messages, session.says("a long…"), session.user("go on")], session.says("bye"))
    assert [step.relation for step in read(session).threads[0].steps] == ["starts", "continues"]


def test_a_sub_agent_is_told_by_the_arguments_that_hold_its_prompt(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says(None, ("c1", {"prompt": "find the nearest shop"}))
    parent = session.call(messages, asks)
    inner = [{"role": "system", "content": "you search"}, session.user("find the nearest shop")]
    session.call(inner, session.says(None, ("s1", {"command": "ls"})))
    session.call([*inner, session.says(None, ("s1", {"command": "ls"})), session.result("s1", "a")], session.says("it"))
    session.call([*messages, asks, session.result("c1", "it")], session.says("bought"))
    main, sub = read(session).threads
    assert [thread.kind for thread in (main, sub)] == ["main", "subagent"]
    assert told(main) == [(1, "starts", "(init 2)"), (4, "continues", "(+2)")]
    assert told(sub) == [(2, "starts", "(init 2)"), (3, "continues", "(+2)")]
    assert sub.parent
    assert sub.parent.rid == parent.rid


def test_what_begins_while_a_tool_call_waits_is_a_sub_agent(session):
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says(None, ("c1", {"type": "explore"}))
    session.call(messages, asks)
    session.call([{"role": "system", "content": "you search"}, session.user("look around")], session.says("seen"))
    session.call([*messages, asks, session.result("c1", "seen")], session.says("bought"))
    assert [thread.kind for thread in read(session).threads] == ["main", "subagent"]


def test_calls_of_which_neither_turn_nor_place_is_known_wait_for_nothing(session):
    for prompt in ("buy milk", "look around"):
        session.call([session.SYSTEM, session.user(prompt)], session.says(None, ("c1", {"command": "ls"})))
    for record in session.records:
        record.facts.update(turn=None, call_index=None)
    assert [thread.kind for thread in read(session).threads] == ["main", "main"]


def test_a_title_asked_for_without_tools_is_a_side_question_wherever_it_comes(session):
    session.call([session.user("give this a title: buy milk")], session.says("Milk"), tools=None)
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, session.says(None, ("c1", {"command": "ls"})))
    session.call([session.user("what is new in: buy milk")], session.says("milk"), tools=None)
    conversation = read(session)
    assert [thread.kind for thread in conversation.threads] == ["side", "main", "side"]
    assert conversation.main is conversation.threads[1]


def test_a_compaction_goes_on_in_the_thread_it_shortens(session):
    summary = "The user wants milk. The shop is around the corner and closes at eight."
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call(messages, session.says("on my way"))
    session.call([session.user("summarize: buy milk, on my way")], session.says(summary), tools=None)
    short = [session.SYSTEM, session.user(f"This session goes on from here:\n{summary}")]
    session.call(short, session.says("bought"))
    main, compaction = read(session).threads
    assert told(main) == [(1, "starts", "(init 2)"), (3, "compacts", "(-1 +1)")]
    assert compaction.kind == "compaction"


def test_a_history_edited_in_place_is_a_rewrite(session):
    messages = [session.SYSTEM, session.user("buy milk"), session.says(None, ("c1", {}))]
    session.call(messages[:2], session.says(None, ("c1", {})))
    session.call([*messages, session.result("c1", "long " * 50)], session.says(None, ("c2", {})))
    cleared = [*messages, session.result("c1", "[cleared]"), session.says(None, ("c2", {})), session.result("c2", "b")]
    session.call(cleared, session.says("done"))
    (thread,) = read(session).threads
    assert told(thread)[1:] == [(2, "continues", "(+2)"), (3, "rewrites", "(-1 +3)")]


def test_without_any_tools_the_first_conversation_is_the_main_one(session):
    session.call([session.user("hello")], session.says("hi"), tools=None)
    session.call([session.user("another")], session.says("yes"), tools=None)
    assert [thread.kind for thread in read(session).threads] == ["main", "main"]


def test_a_branch_stays_in_its_thread_and_is_a_leaf_of_its_own(session):
    messages = [session.SYSTEM, session.user("buy milk"), session.says("which?")]
    session.call(messages[:2], session.says("which?"))
    session.call([*messages, session.user("fresh")], session.says("ok"))
    session.call([*messages, session.user("sour")], session.says("well"))
    conversation = read(session)
    (thread,) = conversation.threads
    assert told(thread) == [(1, "starts", "(init 2)"), (2, "continues", "(+2)"), (3, "continues", "(+2)")]
    assert [leaf.messages[-1].text for leaf in conversation.leaves] == ["ok", "well"]


def test_a_request_that_names_an_earlier_response_is_told_whole(new_session):
    from pytest_agentcap.conversation.records import CallRecord
    from pytest_agentcap.runs.captures import Half

    def record(number: int, request: bytes, text: str) -> CallRecord:
        item = b'{"type":"message","role":"assistant","content":[{"type":"output_text","text":"%s"}]}' % text.encode()
        body = b'{"id":"r%d","status":"completed","output":[%s]}' % (number, item)
        facts = {"request_id": f"{number:032x}", "api": "responses", "call_index": number}
        return CallRecord(facts, request, Half({}, "body", body))

    first = record(1, b'{"input":"buy milk"}', "which?")
    second = record(2, b'{"input":"fresh","previous_response_id":"r1"}', "ok")
    conversation = read_conversation([first, second])
    assert [m.text for m in conversation.calls[1].conversation] == ["buy milk", "which?", "fresh", "ok"]
    assert [step.relation for step in conversation.threads[0].steps] == ["starts", "continues"]
