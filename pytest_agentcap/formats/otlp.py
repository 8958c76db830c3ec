"""Traces as OTLP-JSON with the GenAI attributes of OpenTelemetry: one export request a session.

A session is an `invoke_agent` span, each call a `chat` span in it. What tools took is not on the wire: `execute_tool`
spans last from the answer that asked for the tool to the request that told its result, and say so. Sources:
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and
https://github.com/open-telemetry/semantic-conventions-genai (status: development).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pytest_agentcap import __version__
from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.session import Conversation, ToolUse
from pytest_agentcap.conversation.values import encode
from pytest_agentcap.formats.chat_shape import shape_tools
from pytest_agentcap.formats.facts import run_of, session_facts
from pytest_agentcap.formats.lines import Line, json_line
from pytest_agentcap.formats.otlp_parts import input_messages, output_messages, system_instructions

FILE = "otlp.jsonl"
_INTERNAL, _CLIENT = 1, 3
_ERROR = 2
_OPERATIONS = {"completions": "text_completion", "gemini": "generate_content", "embeddings": "embeddings"}
_PROVIDERS = {"messages": "anthropic", "gemini": "gcp.gemini"}


def lines(conversations: Iterable[Conversation]) -> Iterator[Line]:
    """Yield one `ExportTraceServiceRequest` for each session, all in one file."""
    return (json_line(FILE, export_request(conversation)) for conversation in conversations)


def export_request(conversation: Conversation) -> dict[str, Any]:
    """Tell a session as one trace; equal sessions get equal ids."""
    facts = session_facts(conversation)
    told = {"service.name": facts["agent"] or "unknown", "service.version": facts["agent_version"]}
    scope = {"name": "pytest-agentcap", "version": __version__}
    resource = {"attributes": _attributes(told)}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": _spans(conversation)}]}]}


def _spans(conversation: Conversation) -> list[dict[str, Any]]:
    name = f"{run_of(conversation)}/{conversation.name}"
    trace, root = _id(name, 16), _id(name, 8)
    calls = [_call_span(call, conversation, trace, root) for call in conversation.calls]
    tools = [span for use in conversation.tool_uses if (span := _tool_span(use, trace))]
    return [_agent_span(conversation, trace, root, [*calls, *tools]), *calls, *tools]


def _agent_span(conversation: Conversation, trace: str, root: str, children: list[dict[str, Any]]) -> dict[str, Any]:
    facts = session_facts(conversation)
    agent = facts["agent"]
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": agent,
        "gen_ai.agent.version": facts["agent_version"],
        "gen_ai.conversation.id": f"{run_of(conversation)}/{conversation.name}",
        "gen_ai.request.model": facts["model"],
        **{f"agentcap.{name}": facts[name] for name in ("run_id", "corpus", "task_id", "trial", "attempt", "verdict")},
    }
    start = min(int(span["startTimeUnixNano"]) for span in children)
    end = max(int(span["endTimeUnixNano"]) for span in children)
    return _span(trace, root, None, f"invoke_agent {agent or 'unknown'}", _INTERNAL, (start, end), attributes)


def _call_span(call: Call, conversation: Conversation, trace: str, root: str) -> dict[str, Any]:
    operation = _OPERATIONS.get(call.api, "chat")
    start = call.started_at_ns or 0
    end = call.ended_at_ns
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(call.api, call.record.text("provider") or "unknown"),
        "gen_ai.conversation.id": f"{run_of(conversation)}/{conversation.name}",
        **_asked(call),
        **_answered(call),
        "agentcap.request_id": call.rid,
        "agentcap.api": call.api,
        "agentcap.turn": call.turn,
        "agentcap.end_time_known": end is not None,
        **_thread_facts(conversation, call),
    }
    span = _span(
        trace,
        call.rid[:16],
        root,
        f"{operation} {call.model or ''}".strip(),
        _CLIENT,
        (start, end or start),
        attributes,
    )
    return {**span, "status": {"code": _ERROR, "message": _failure(call)}} if call.failed else span


def _thread_facts(conversation: Conversation, call: Call) -> dict[str, Any]:
    for thread in conversation.threads:
        if any(call is other for other in thread.calls):
            return {"agentcap.thread": thread.index, "agentcap.thread_kind": thread.kind}
    return {}


def _asked(call: Call) -> dict[str, Any]:
    request, sampling = call.request, call.request.sampling
    place = urlsplit(call.record.text("upstream_url") or "")
    return {
        "gen_ai.request.model": call.model,
        "gen_ai.request.stream": request.stream,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.request.stop_sequences": list(sampling.stop) or None,
        "gen_ai.request.frequency_penalty": sampling.frequency_penalty,
        "gen_ai.request.presence_penalty": sampling.presence_penalty,
        "gen_ai.request.choice.count": sampling.choices,
        "server.address": place.hostname,
        "server.port": place.port or {"https": 443, "http": 80}.get(place.scheme),
        "gen_ai.system_instructions": system_instructions(request),
        "gen_ai.input.messages": input_messages(request),
        "gen_ai.tool.definitions": encode([{"type": "function", **t["function"]} for t in shape_tools(request.tools)])
        if request.tools
        else None,
    }


def _answered(call: Call) -> dict[str, Any]:
    answer, usage = call.answer, call.usage
    first = call.record.number("first_byte_ms") if call.request.stream else None
    return {
        "gen_ai.response.id": answer.id if answer else None,
        "gen_ai.response.model": answer.model if answer else None,
        "gen_ai.response.finish_reasons": [answer.finish_reason] if answer and answer.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": None if first is None else first / 1000,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "gen_ai.output.messages": output_messages(answer),
        "http.response.status_code": call.status_code,
        "error.type": _error_type(call) if call.failed else None,
    }


def _error_type(call: Call) -> str:
    error = call.answer.error if call.answer else None
    if error is None:
        return "no_response" if call.answer is None else "incomplete"
    return str(call.status_code) if error.source == "http" and call.status_code else error.kind or error.source


def _failure(call: Call) -> str:
    error = call.answer.error if call.answer else None
    return error.message if error else _error_type(call)


def _tool_span(use: ToolUse, trace: str) -> dict[str, Any] | None:
    start, end = use.started_at_ns, use.ended_at_ns
    if start is None or end is None or use.result is None:
        return None
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": use.call.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": use.call.id,
        "gen_ai.tool.call.arguments": use.call.arguments,
        "gen_ai.tool.call.result": use.result.text,
        "error.type": "tool_error" if use.result.is_error else None,
        "agentcap.inferred": True,
        "agentcap.asked_by": use.asked_by.rid,
    }
    identity = _id(f"{use.asked_by.rid}/{use.call.id}/{_position(use)}", 8)
    # Clocks of one machine, but two readings: a request never comes before the answer it follows.
    times = (start, max(start, end))
    return _span(trace, identity, use.asked_by.rid[:16], f"execute_tool {use.call.name}", _INTERNAL, times, attributes)


def _position(use: ToolUse) -> int:
    calls = use.asked_by.said.tool_calls if use.asked_by.said else ()
    return next((at for at, call in enumerate(calls) if call is use.call), 0)


def _span(
    trace: str,
    identity: str,
    parent: str | None,
    name: str,
    kind: int,
    times: tuple[int, int],
    attributes: dict[str, Any],
) -> dict[str, Any]:
    return {
        "traceId": trace,
        "spanId": identity,
        **({"parentSpanId": parent} if parent else {}),
        "name": name,
        "kind": kind,
        # 64-bit integers are text in OTLP's JSON.
        "startTimeUnixNano": str(times[0]),
        "endTimeUnixNano": str(times[1]),
        "attributes": _attributes(attributes),
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
        case _:
            return {"stringValue": str(value)}


def _id(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
