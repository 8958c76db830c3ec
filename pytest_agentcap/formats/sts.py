"""The Session Trace Simple Format of the Hub's trace viewer: a header line, then one line for each message.

Source of the format: https://huggingface.co/docs/hub/session-traces-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytest_agentcap.conversation.model import Image, Message, Part
from pytest_agentcap.conversation.session import Conversation, Entry, transcript
from pytest_agentcap.conversation.threads import Thread
from pytest_agentcap.conversation.values import encode
from pytest_agentcap.formats.chat_shape import content_of, image_url, shape_tools
from pytest_agentcap.formats.facts import run_of, session_facts
from pytest_agentcap.formats.lines import Line, file_name, json_line

_TITLE_CHARS = 100


def lines(conversations: Iterable[Conversation]) -> Iterator[Line]:
    """Yield one file for each thread: `<run>/<session>.jsonl`, and `<session>.<n>-<kind>.jsonl` beside the main one."""
    for conversation in conversations:
        for thread in conversation.threads:
            main = thread is conversation.main
            name = conversation.name if main else f"{conversation.name}.{thread.index}-{thread.kind}"
            file = file_name(run_of(conversation), name, ".jsonl")
            yield from (json_line(file, record) for record in trace(conversation, thread))


def trace(conversation: Conversation, thread: Thread) -> Iterator[dict[str, Any]]:
    """Yield the header and the messages of one thread."""
    entries = transcript(thread)
    facts = session_facts(conversation)
    yield {
        "type": "session",
        "harness": facts["agent"] or "unknown",
        "id": f"{run_of(conversation)}/{conversation.name}/{thread.index}",
        "name": _title(entries) or conversation.name,
        **facts,
        "thread_kind": thread.kind,
        "parent_request_id": thread.parent.rid if thread.parent else None,
        "tools": shape_tools(thread.steps[0].call.request.tools),
    }
    for entry in entries:
        yield {"type": "message", "message": _message(entry)}


def _title(entries: Iterable[Entry]) -> str:
    prompts = (entry.message.text for entry in entries if entry.message.role == "user")
    return " ".join(next(prompts, "").split())[:_TITLE_CHARS]


def _message(entry: Entry) -> dict[str, Any]:
    message = entry.message
    result = message.tool_results[0] if message.tool_results else None
    parts: tuple[Part, ...] = result.parts if result else message.parts
    told: dict[str, Any] = {"role": message.role, "content": _text(parts)}
    if message.thinking:
        told["reasoningContent"] = message.thinking
    if message.tool_calls:
        told["toolCalls"] = _calls(message)
    if result and result.call_id is not None:
        told["toolCallId"] = result.call_id
    if entry.at_ns is not None:
        told["timestamp"] = entry.at_ns // 1_000_000
    if message.role == "assistant" and entry.call.model:
        told["model"] = entry.call.model
    images = [image_url(part) for part in parts if isinstance(part, Image)]
    # Not of the format, which has text alone.
    return {**told, "images": images} if images else told


def _calls(message: Message) -> list[dict[str, Any]]:
    return [{"id": c.id or "", "function": {"name": c.name, "arguments": c.arguments}} for c in message.tool_calls]


def _text(parts: Iterable[Part]) -> str:
    """Return content as text; an image is named where it stood, and kept beside it."""
    content = content_of(parts)
    if isinstance(content, str):
        return content
    told = (f"[{part['type']}]" if part["type"] == "image" else part.get("text") or encode(part) for part in content)
    return "\n".join(told)
