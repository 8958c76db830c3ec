"""AgentTrace 0.3.0: one JSONL row for each session, and the same rows as its normalized parquet.

Its keys keep their names, types and units; what is added stands beside them. A figure that was not measured is null,
where AgentTrace has 0. Source of the format: https://github.com/pagarsky/agent-trace
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pytest_agentcap import __version__
from pytest_agentcap.conversation.model import Call, ToolCall
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.values import as_object, parse
from pytest_agentcap.formats.agenttrace_parquet import RowsFile
from pytest_agentcap.formats.facts import run_of, session_facts
from pytest_agentcap.formats.lines import Line, json_line
from pytest_agentcap.telemetry.model import ModelStep, Resources, ToolSpan
from pytest_agentcap.telemetry.stored import read_telemetry

FILE = "agenttrace.jsonl"
PARQUET = "agenttrace.parquet"
SCHEMA_VERSION = "0.3.0"
# Ours by AgentTrace's name for it.
_RESOURCES = {
    "user_s": "user_time_s",
    "system_s": "system_time_s",
    "peak_rss_bytes": "max_rss_bytes",
    "storage_read_bytes": "read_bytes",
    "storage_write_bytes": "write_bytes",
}


def lines(conversations: Iterable[Conversation]) -> Iterator[Line]:
    """Yield the rows as JSONL, one for each session, then the whole parquet file."""
    rows = RowsFile(FILE)
    for conversation in conversations:
        record = row(conversation)
        rows.add(record)
        yield json_line(FILE, record)
    if rows.count:
        yield Line(PARQUET, rows.finish(), records=0)


def row(conversation: Conversation) -> dict[str, Any]:
    """Tell a session as one trace; equal sessions get equal ids, those of the format `otlp`.

    Durations are ms, points in time epoch ns. `total_duration_ms` is how long the session took; where that is not known
    it lasts from the first request to the last byte of an answer, and `metadata.duration_source` says `captures`.
    """
    telemetry = read_telemetry(conversation)
    calls = {call.rid: call for call in conversation.calls}
    facts, whole = session_facts(conversation), telemetry.session
    started = min((call.started_at_ns for call in conversation.calls if call.started_at_ns is not None), default=None)
    on_wire = _on_wire(conversation)
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "collector": "pytest-agentcap",
        "collector_version": __version__,
        "source": facts["corpus"],
        "dataset_name": facts["corpus"],
        **facts,
        "upstream_url": conversation.record.text("upstream_url"),
        "served_model": conversation.record.text("served_model"),
        "served_build_info": conversation.record.text("served_build_info"),
        **_circumstances(conversation),
        "clock": "epoch",
        "duration_source": "session" if whole.wall_s is not None else "captures" if on_wire is not None else None,
        "telemetry": {
            **_resources(whole),
            "coverage": telemetry.coverage,
            "turns": [{"turn": number, **_resources(used)} for number, used in sorted(telemetry.turns.items())],
        },
    }
    return {
        "trace_id": _trace_id(conversation),
        "timestamp_utc": None if started is None else datetime.fromtimestamp(started / 1e9, UTC).isoformat(),
        "prompt": _prompt(conversation),
        "model": facts["model"],
        "spans": [_span(span) for span in telemetry.tools],
        "llm_steps": [_step(number, step, calls[step.request_id]) for number, step in enumerate(telemetry.steps, 1)],
        "total_duration_ms": on_wire if whole.wall_s is None else _ms(whole.wall_s),
        "metadata": metadata,
    }


def _circumstances(conversation: Conversation) -> dict[str, Any]:
    """Tell the machine, the image, the model server and the tasks of the session's run, where they are known."""
    known = as_object(conversation.record.facts.get("circumstances"))
    machine, corpus = as_object(known.get("machine")), str(conversation.record.text("corpus"))
    return {
        "platform": machine.get("platform"),
        "hardware": {name: value for name, value in machine.items() if name != "platform"} or None,
        "serving": known.get("serving"),
        "image": known.get("image"),
        "seed": known.get("seed"),
        "corpus_digest": as_object(known.get("corpora")).get(corpus),
        "fixtures": as_object(known["fixtures"]).get(corpus, {}) if "fixtures" in known else None,
    }


def _trace_id(conversation: Conversation) -> str:
    name = f"{run_of(conversation)}/{conversation.name}"
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _prompt(conversation: Conversation) -> str | None:
    main = conversation.main or next(iter(conversation.threads), None)
    messages = main.steps[0].call.request.messages if main else ()
    return next((message.text for message in messages if message.role == "user"), None)


def _on_wire(conversation: Conversation) -> float | None:
    starts = [call.started_at_ns for call in conversation.calls if call.started_at_ns is not None]
    ends = [call.ended_at_ns for call in conversation.calls if call.ended_at_ns is not None]
    return (max(ends) - min(starts)) / 1e6 if starts and ends else None


def _span(span: ToolSpan) -> dict[str, Any]:
    known = asdict(span)
    return {
        "span_id": span.span_id,
        "type": "TOOL",
        "tool_name": span.name,
        "tool_input": _spelled(span.arguments),
        "tool_output": span.output,
        "start_ns": span.started_at_ns,
        "end_ns": span.ended_at_ns,
        "duration_ms": _ms(span.duration_s),
        "telemetry": _resources(span.resources),
        "exit_code": span.exit_code,
        "parent_span_id": None,
        "tool_call_id": span.call_id,
        "step_id": span.request_id,
        "arguments": span.arguments,
        **{name: known[name] for name in ("result_id", "position", "thread", "thread_kind", "turn", "is_error")},
        **{name: known[name] for name in ("window_start_ns", "window_end_ns", "timing", "exit_code_source")},
        "background": span.background,
    }


def _spelled(arguments: str) -> str:
    """Write arguments as AgentTrace does, which tells how Python was called; `arguments` has what the model wrote."""
    value = parse(arguments)
    return f"kwargs={value!r}" if isinstance(value, dict) else f"args={(arguments,)!r}"


def _resources(used: Resources) -> dict[str, Any]:
    return {_RESOURCES.get(name, name): value for name, value in asdict(used).items()}


def _step(number: int, step: ModelStep, call: Call) -> dict[str, Any]:
    known = asdict(step)
    asked = call.said.tool_calls if call.said else ()
    return {
        "step_id": step.request_id,
        "step_number": number,
        "model_output": step.output,
        "reasoning_content": step.reasoning,
        "tool_calls": [_asked(each) for each in asked] or None,
        "duration_ms": _ms(step.duration_s),
        "input_tokens": step.prompt_tokens,
        "output_tokens": step.completion_tokens,
        "ttft_ms": _ms(step.time_to_first_token_s),
        **{name: known[name] for name in ("request_id", "thread", "thread_kind", "relation", "turn", "model")},
        **{name: known[name] for name in ("started_at_ns", "first_byte_at_ns", "first_token_at_ns", "ended_at_ns")},
        **{name: known[name] for name in ("first_token_quality", "cached_tokens", "reasoning_tokens")},
        **{name: known[name] for name in ("finish_reason", "failed", "sampling")},
    }


def _asked(call: ToolCall) -> dict[str, Any]:
    arguments = call.parsed_arguments
    return {"name": call.name, "arguments": call.arguments if arguments is None else arguments, "id": call.id}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
