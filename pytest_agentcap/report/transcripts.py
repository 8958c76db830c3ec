"""What was asked, answered and done in a session, event by event, under the names of AgentGym's transcripts.

Every API is told as chat completions, so that one reader reads all agents; bodies as they were on the wire are in the
captures, by `request_id`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from pytest_agentcap.conversation.model import Call, Message
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.usage import Usage
from pytest_agentcap.formats.chat_shape import shape_message, shape_tools
from pytest_agentcap.report.outcomes import SessionOutcome
from pytest_agentcap.report.task_file import tool_call
from pytest_agentcap.runs.captures import Half, wire_bytes
from pytest_agentcap.telemetry.model import ToolSpan
from pytest_agentcap.telemetry.stored import read_telemetry

Event: TypeAlias = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event(name: str, at_ns: int | None, **fields: Any) -> Event:
    """Return an event at a time in epoch nanoseconds; `ts` is None when that is not known."""
    at = None if at_ns is None else (_EPOCH + timedelta(microseconds=at_ns // 1000)).isoformat(timespec="microseconds")
    return {"ts": at, "event": name, **fields}


def session_events(conversation: Conversation, outcome: SessionOutcome) -> list[Event]:
    """Return a session's events in the order of time, or of its calls where a time is not known.

    A request tells `messages` from the first one on that the request `previous_request_id` had not told;
    `messages_kept` is how many it repeats of that one. It tells `tools` when they are others than that one's.
    """
    events = list(_events(conversation, {"task_id": outcome.task, "trial": outcome.trial}))
    # Sorting is stable: of what happened at the same time, the cause stays first.
    return sorted(events, key=lambda each: each["ts"]) if all(each["ts"] for each in events) else events


def _events(conversation: Conversation, named: Event) -> Iterator[Event]:
    previous = {step.call.rid: step.previous for thread in conversation.threads for step in thread.steps}
    results: dict[str, list[ToolSpan]] = defaultdict(list)
    for span in read_telemetry(conversation).tools:
        results[span.result_id or ""].append(span)
    for call in conversation.calls:
        for span in results[call.rid]:
            yield event("tool_result", span.ended_at_ns, **named, **tool_call(span))
        named_call = {**named, "request_id": call.rid}
        yield event("llm_request", call.started_at_ns, **named_call, **_request(call, previous.get(call.rid)))
        if call.said is not None:
            yield event("llm_response", call.ended_at_ns, **named_call, response=_response(call))
        if call.failed:
            yield event("llm_error", call.ended_at_ns, **named_call, **_error(call))


def _request(call: Call, before: Call | None) -> Event:
    asked = call.request
    kept = _repeated(before.request.messages, asked.messages) if before else 0
    told: Event = {
        "model": call.model,
        "temperature": asked.sampling.temperature,
        "max_tokens": asked.sampling.max_tokens,
        "previous_request_id": before.rid if before else None,
        "messages_kept": kept,
        "messages": [_message(message) for message in asked.messages[kept:]],
    }
    return told if before and before.request.tools == asked.tools else {**told, "tools": shape_tools(asked.tools)}


def _repeated(before: Sequence[Message], after: Sequence[Message]) -> int:
    """Count the messages that begin both, letter for letter."""
    pairs = zip(before, after, strict=False)
    differs = (at for at, (old, new) in enumerate(pairs) if old is not new and old != new)
    return next(differs, min(len(before), len(after)))


def _response(call: Call) -> Event:
    answer = call.answer
    assert answer is not None
    messages = [message for message in (answer.message, *answer.alternatives) if message]
    return {
        "id": answer.id,
        "model": answer.model,
        "choices": [
            {"index": index, "finish_reason": answer.finish_reason, "message": _message(message)}
            for index, message in enumerate(messages)
        ],
        "usage": _usage(call.usage),
    }


def _message(message: Message) -> Event:
    """Shape a message as it is on the wire, where arguments are the text that the model wrote."""
    shaped = shape_message(message)
    for told, asked in zip(shaped.get("tool_calls", ()), message.tool_calls, strict=False):
        told["function"]["arguments"] = asked.arguments
    return shaped


def _usage(used: Usage) -> Event | None:
    asked, answered = used.prompt_tokens, used.completion_tokens
    if asked is None and answered is None:
        return None
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": None if asked is None or answered is None else asked + answered,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
    }


def _error(call: Call) -> Event:
    error = call.answer.error if call.answer else None
    refused = error is not None and error.source == "http"
    return {
        "error_type": (error.kind or error.source) if error else "incomplete",
        "status_code": call.status_code,
        "url": call.record.text("upstream_url"),
        "response_text": _text(call.record.response) if refused else None,
        "message": error.message if error else "the answer has no end",
    }


def _text(half: Half | None) -> str | None:
    return None if half is None else wire_bytes(half).decode("utf-8", "replace")
