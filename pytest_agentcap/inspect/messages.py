"""A call's messages as rows: `[ i]  role  summary`, tool calls and the answer in rows of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_agentcap.conversation.model import Call, Message, ToolCall
from pytest_agentcap.inspect.render import text_of
from pytest_agentcap.inspect.summary import ROW_CHARS, gist, one_line


@dataclass(frozen=True, slots=True)
class MessageRow:
    """Hold a row; `index` is the message's place in the request, None for what was answered."""

    index: int | None
    role: str
    summary: str
    text: str


def rows_of(call: Call) -> Iterator[MessageRow]:
    """Yield the rows of a request's messages, of its answers, and of its error."""
    for index, message in enumerate(call.request.messages):
        yield from _message_rows(index, message.role, message)
    if call.answer:
        for said in (call.answer.message, *call.answer.alternatives):
            if said:
                yield from _message_rows(None, "response", said)
        if call.answer.error:
            text = call.answer.error.message
            yield MessageRow(None, "error", one_line(text, ROW_CHARS), text)
    if call.opaque:
        body = call.record.request.decode("utf-8", "replace")
        yield MessageRow(None, call.api, one_line(body, ROW_CHARS), body)


def _message_rows(index: int | None, role: str, message: Message) -> Iterator[MessageRow]:
    calls = message.tool_calls
    rest = Message(message.role, tuple(part for part in message.parts if not isinstance(part, ToolCall)))
    if rest.parts or not calls:
        yield MessageRow(index, role, gist(rest), text_of(rest))
    for call in calls:
        alone = Message(message.role, (call,))
        yield MessageRow(index, f"{role}→{call.name}", gist(alone), text_of(alone))
