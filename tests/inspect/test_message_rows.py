"""Messages on one line, and a call's messages as rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.conversation.model import Image, Message, Text, Thinking, ToolCall, ToolResult
from pytest_agentcap.conversation.read import read_call
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.inspect.messages import rows_of
from pytest_agentcap.inspect.summary import gist, one_line, searchable, summarize


@given(st.text(), st.none() | st.integers(1, 50))
def test_any_text_becomes_one_printable_line(text, limit):
    line = one_line(text, limit)
    assert len(line.splitlines()) <= 1
    assert not {"\t", "\x1b", "\x00", "\r"} & set(line)
    assert limit is None or len(line) <= limit
    line.encode()


def test_a_huge_text_is_cut_before_it_is_escaped():
    assert one_line("a " * 5_000_000, 10) == "a a a a a…"


def test_a_message_is_told_by_what_it_holds():
    call = ToolCall("1", "bash", '{"command":"ls"}')
    assert gist(Message("assistant", (Thinking("hm"), Text("so"), call))) == "so"
    assert gist(Message("assistant", (Thinking("hm"), call, call))) == '{"command":"ls"} +1'
    assert gist(Message("assistant", (Thinking("hm"),))) == "hm"
    assert gist(Message("tool", (ToolResult("1", (Text("a\nb"),)),))) == "a b"
    assert gist(Message("user", (Image("image/png", "AAAA"),))) == "[image]"
    assert gist(Message("user", ())) == "(empty)"


def test_a_row_names_roles_and_leaves_system_prompts_out_where_there_is_more():
    system, user = Message("system", (Text("be good"),)), Message("user", (Text("buy milk"),))
    asks = Message("assistant", (ToolCall("1", "bash", "{}"),))
    assert summarize([system, user]) == "user: buy milk"
    assert summarize([system]) == "system: be good"
    assert summarize([asks, user]) == "assistant→bash: {} · user: buy milk"
    assert len(summarize([user] * 100)) == 160
    assert searchable([system, asks, user]) == "be good bash {} buy milk"


def call_of(body, answer, api="chat", **facts):
    from pytest_agentcap.runs.captures import Half

    half = None if answer is None else Half({}, "body", json.dumps(answer).encode())
    return read_call(CallRecord({"request_id": "a" * 32, "api": api, **facts}, json.dumps(body).encode(), half))


def test_tool_calls_and_answers_have_rows_of_their_own():
    said = {
        "role": "assistant",
        "content": "look",
        "tool_calls": [{"id": "1", "function": {"name": "ls", "arguments": "{}"}}],
    }
    messages = [{"role": "user", "content": "hi"}, said, {"role": "tool", "tool_call_id": "1", "content": "x"}]
    answer = {"choices": [{"message": {**said, "content": None}, "finish_reason": "tool_calls"}]}
    rows = list(rows_of(call_of({"messages": messages}, answer)))
    assert [(row.index, row.role, row.summary) for row in rows] == [
        (0, "user", "hi"),
        (1, "assistant", "look"),
        (1, "assistant→ls", "{}"),
        (2, "tool", "x"),
        (None, "response→ls", "{}"),
    ]
    assert rows[2].text == "→ ls 1\n{}"


@pytest.mark.parametrize("answer", [None, {"error": {"message": "overloaded"}}])
def test_a_call_without_an_answer_shows_its_request_and_error(answer):
    rows = list(rows_of(call_of({"messages": [{"role": "user", "content": "hi"}]}, answer, status_code=503)))
    assert [row.role for row in rows] == (["user"] if answer is None else ["user", "error"])


def test_a_call_without_messages_shows_its_body():
    (row,) = rows_of(call_of({"input": "x"}, None, api="embeddings"))
    assert (row.role, row.text) == ("embeddings", '{"input": "x"}')
