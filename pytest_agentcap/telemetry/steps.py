"""Model steps from captures alone: one response is one step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.sse import Event, read_events
from pytest_agentcap.conversation.threads import Step, Thread
from pytest_agentcap.conversation.values import as_object, as_objects, parse
from pytest_agentcap.telemetry.model import ModelStep, Quality


def model_steps(conversation: Conversation) -> tuple[ModelStep, ...]:
    """Return the steps of a session in the order in which they were asked for.

    Retries are steps of their own (`relation` says so); calls without a response are none, nor are those that are no
    conversation.
    """
    placed = {id(step.call): (thread, step) for thread in conversation.threads for step in thread.steps}
    answered = (call for call in conversation.calls if call.answer is not None and id(call) in placed)
    return tuple(_step(call, *placed[id(call)]) for call in answered)


def _step(call: Call, thread: Thread, step: Step) -> ModelStep:
    said, usage, answer = call.said, call.usage, call.answer
    token, quality = first_token(call)
    return ModelStep(
        request_id=call.rid,
        thread=thread.index,
        thread_kind=thread.kind,
        relation=step.relation,
        turn=call.turn,
        model=call.model,
        started_at_ns=call.started_at_ns,
        first_byte_at_ns=call.first_byte_at_ns,
        first_token_at_ns=token,
        first_token_quality=quality,
        ended_at_ns=call.ended_at_ns,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        finish_reason=answer.finish_reason if answer else None,
        tool_calls=len(said.tool_calls) if said else 0,
        failed=call.failed,
        sampling=call.request.sampling,
        output=said.text or None if said else None,
        reasoning=said.thinking or None if said else None,
    )


def first_token(call: Call) -> tuple[int | None, Quality]:
    """Return when the first piece of an answer came that the model had written, and how sure that is.

    What is recorded are the arrivals of pieces, not what was in each. Where as many pieces came as the stream has
    events, each is one event; where fewer came, an event came with the piece of its number at the latest.
    """
    start, arrivals, half = call.started_at_ns, call.record.numbers("chunk_ms"), call.record.response
    if start is None or not arrivals or half is None or half.key != "raw":
        return None, "none"
    stream = parse(half.text)
    says = _SAYS.get(call.api)
    if says is None or not isinstance(stream, str):
        return None, "none"
    events = list(read_events(stream))
    first = next((at for at, event in enumerate(events) if _told(says, event)), None)
    if first is None or len(arrivals) > len(events):
        return None, "none"
    at = min(first, len(arrivals) - 1)
    sure = first == 0 or len(arrivals) == len(events)
    return start + round(arrivals[at] * 1e6), "exact" if sure else "window"


def _told(says: Callable[[Mapping[str, Any]], bool], event: Event) -> bool:
    try:
        document = json.loads(event.data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and says(document)


def _chat_says(event: Mapping[str, Any]) -> bool:
    deltas = (as_object(choice.get("delta")) for choice in as_objects(event.get("choices")))
    names = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call", "refusal")
    return any(delta.get(name) for delta in deltas for name in names)


def _completion_says(event: Mapping[str, Any]) -> bool:
    return any(choice.get("text") for choice in as_objects(event.get("choices")))


def _messages_say(event: Mapping[str, Any]) -> bool:
    block = as_object(event.get("content_block"))
    return event.get("type") == "content_block_delta" or block.get("type") in ("tool_use", "server_tool_use")


def _responses_say(event: Mapping[str, Any]) -> bool:
    item = as_object(event.get("item"))
    return str(event.get("type")).endswith(".delta") or item.get("type") == "function_call"


def _gemini_says(event: Mapping[str, Any]) -> bool:
    contents = (as_object(candidate.get("content")) for candidate in as_objects(event.get("candidates")))
    return any(content.get("parts") for content in contents)


_SAYS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "chat": _chat_says,
    "completions": _completion_says,
    "messages": _messages_say,
    "responses": _responses_say,
    "gemini": _gemini_says,
}
