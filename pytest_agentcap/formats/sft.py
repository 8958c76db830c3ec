"""Rows for supervised fine-tuning: TRL's conversational language modelling, `messages` and `tools`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.formats.chat_shape import shape_messages, shape_tools
from pytest_agentcap.formats.facts import call_facts, session_facts
from pytest_agentcap.formats.lines import Line, json_line

FILE = "sft.jsonl"


def lines(conversations: Iterable[Conversation]) -> Iterator[Line]:
    """Yield one row for each leaf conversation, all in one file."""
    for conversation in conversations:
        yield from (json_line(FILE, row) for row in rows(conversation))


def rows(conversation: Conversation) -> Iterator[dict[str, Any]]:
    """Yield a session's rows: one for each conversation that no later call continues.

    The row ends with the last thing the model said; where it said nothing there is no row.
    """
    facts = session_facts(conversation)
    for leaf in conversation.leaves:
        messages = list(leaf.messages)
        while messages and messages[-1].role != "assistant":
            messages.pop()
        if not messages:
            continue
        yield {
            "messages": shape_messages(messages),
            "tools": shape_tools(leaf.call.request.tools),
            **facts,
            "model": leaf.call.model,
            "thread": leaf.thread.index,
            "thread_kind": leaf.thread.kind,
            **call_facts(leaf.call),
        }
