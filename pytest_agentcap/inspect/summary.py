"""Messages on one line, for rows of a list: every one of them may hold anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_agentcap.conversation.model import Image, Message, Opaque, ToolCall, ToolResult
from pytest_agentcap.text import printable

ROW_CHARS = 160


def one_line(text: str, limit: int | None = None) -> str:
    """Return text without line breaks, tabs, runs of blanks and controls; what is cut off ends in `…`."""
    if limit is not None:
        # No more than a row takes is worth escaping, blanks that fall together included.
        text = text[: limit * 4]
    flat = " ".join(printable(text).split())
    return flat if limit is None or len(flat) <= limit else flat[: limit - 1] + "…"


def summarize(messages: Iterable[Message]) -> str:
    """Tell messages on one line of 160 characters at most, roles first; system prompts only where nothing else is."""
    told = list(messages)
    told = [message for message in told if message.role != "system"] or told
    return one_line(" · ".join(f"{role_of(message)}: {gist(message)}" for message in told), ROW_CHARS)


def role_of(message: Message) -> str:
    """Name the role, and for a message that calls tools the first of them."""
    calls = message.tool_calls
    return f"{message.role}→{calls[0].name}" if calls else message.role


def gist(message: Message) -> str:
    """Return the beginning of what a message says: its text, else its tool call, its thinking, what else it has."""
    text = message.text or "".join(result.text for result in message.tool_results)
    if text.strip():
        return one_line(text, ROW_CHARS)
    calls = message.tool_calls
    if calls:
        more = f" +{len(calls) - 1}" if len(calls) > 1 else ""
        return one_line(calls[0].arguments, ROW_CHARS - len(more)) + more
    kinds = [part.kind if isinstance(part, Opaque) else "image" for part in message.parts if _has_no_text(part)]
    return one_line(message.thinking, ROW_CHARS) or " ".join(f"[{kind}]" for kind in kinds) or "(empty)"


def _has_no_text(part: object) -> bool:
    return isinstance(part, Image | Opaque)


def searchable(messages: Iterable[Message]) -> str:
    """Return all that messages say on one line, in full."""
    return one_line(" ".join(piece for message in messages for piece in texts_of(message)))


def texts_of(message: Message) -> Iterator[str]:
    """Yield what a message says: texts, thinking, tool calls, results."""
    yield from (text for text in (message.thinking, message.text) if text)
    for part in message.parts:
        if isinstance(part, ToolCall):
            yield f"{part.name} {part.arguments}"
        elif isinstance(part, ToolResult):
            yield part.text
        elif isinstance(part, Opaque):
            yield part.json
