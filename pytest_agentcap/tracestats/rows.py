"""AgentTrace's rows, its own and those with what this project adds, as traces."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

from pytest_agentcap.conversation.values import as_integer, as_number, as_object, as_objects, as_text, encode, parse
from pytest_agentcap.telemetry.exit_codes import exit_code_in
from pytest_agentcap.tracestats.model import Trace, TracedCall, TracedStep

OURS = "pytest-agentcap"
_COMMAND_CHARS = 80
_ARGUMENTS = ("command", "cmd", "code", "path", "file_path", "filePath", "pattern")


def read_row(row: Mapping[str, Any], place: str) -> Trace:
    """Read one row of the JSONL; `place` names its file.

    Raises ValueError when the row is no trace of AgentTrace.
    """
    for name in ("spans", "llm_steps"):
        if not isinstance(row.get(name), list):
            raise ValueError(f"no AgentTrace row: {name} is no list")
    metadata = as_object(row.get("metadata"))
    ours = metadata.get("collector") == OURS
    return Trace(
        trace_id=str(row.get("trace_id")),
        place=place,
        dataset=_first_text(metadata, "dataset_name", "dataset", "source") or as_text(row.get("dataset_name")),
        agent=as_text(metadata.get("agent")),
        model=as_text(row.get("model")),
        task=_named(metadata.get("task_id")),
        verdict=as_text(metadata.get("verdict")),
        total_s=_seconds(row.get("total_duration_ms")),
        steps=tuple(_step(each) for each in as_objects(row["llm_steps"])),
        calls=tuple(_call(each, ours) for each in as_objects(row["spans"])),
        one_clock=metadata.get("clock") == "epoch",
        high_water=not ours,
    )


def row_of_parquet(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the normalized parquet as the JSONL has it."""
    metadata = as_object(parse(row.get("metadata_json") or "{}"))
    known = {name: row[name] for name in ("dataset_name", "task_id", "run_id") if row.get(name) is not None}
    spans, steps = (parse(row.get(name) or "[]") for name in ("spans_json", "llm_steps_json"))
    return {**row, "spans": spans, "llm_steps": steps, "metadata": {**known, **metadata}}


def _step(step: Mapping[str, Any]) -> TracedStep:
    failed = step.get("failed")
    return TracedStep(
        step_id=str(step.get("step_id")),
        start_ns=as_integer(step.get("started_at_ns")),
        end_ns=as_integer(step.get("ended_at_ns")),
        duration_s=_seconds(step.get("duration_ms")),
        first_token_s=_seconds(step.get("ttft_ms")),
        input_tokens=as_integer(step.get("input_tokens")),
        output_tokens=as_integer(step.get("output_tokens")),
        failed=failed if isinstance(failed, bool) else None,
        relation=as_text(step.get("relation")),
    )


def _call(span: Mapping[str, Any], ours: bool) -> TracedCall:
    used = as_object(span.get("telemetry"))
    user, system = _finite(used.get("user_time_s")), _finite(used.get("system_time_s"))
    is_error = span.get("is_error")
    return TracedCall(
        span_id=str(span.get("span_id")),
        tool=as_text(span.get("tool_name")) or "unknown",
        command=_command(span),
        thread=as_integer(span.get("thread")) or 0,
        start_ns=as_integer(span.get("start_ns")),
        end_ns=as_integer(span.get("end_ns")),
        duration_s=_seconds(span.get("duration_ms")),
        cpu_s=None if user is None or system is None else user + system,
        peak_rss_bytes=as_integer(used.get("max_rss_bytes")),
        storage_read_bytes=as_integer(used.get("read_bytes")),
        storage_write_bytes=as_integer(used.get("write_bytes")),
        syscall_read_bytes=as_integer(used.get("syscall_read_bytes")),
        syscall_write_bytes=as_integer(used.get("syscall_write_bytes")),
        exit_code=as_integer(span.get("exit_code")) if ours else _exit_code(span),
        is_error=is_error if isinstance(is_error, bool) else None,
        source=as_text(used.get("source")),
        quality=as_text(used.get("quality")),
        timing=as_text(span.get("timing")),
    )


def _exit_code(span: Mapping[str, Any]) -> int | None:
    """Believe the text of a shell tool before the field, which is 0 where nobody set it."""
    told = exit_code_in(as_text(span.get("tool_output")) or "")
    return as_integer(span.get("exit_code")) if told is None else told


def _command(span: Mapping[str, Any]) -> str:
    arguments = _arguments(span)
    if isinstance(arguments, Mapping):
        text = next((text for name in _ARGUMENTS if (text := as_text(arguments.get(name)))), None)
        arguments = encode(arguments) if text is None else text
    return " ".join(str(arguments).split())[:_COMMAND_CHARS]


def _arguments(span: Mapping[str, Any]) -> Any:
    """Return the arguments, which AgentTrace has as Python's spelling of a call: `args=(…)`, `kwargs={…}`."""
    if isinstance(written := span.get("arguments"), str):
        value = parse(written)
        return value if isinstance(value, dict) else written
    text = as_text(span.get("tool_input")) or ""
    kind, _, spelled = text.partition("=")
    if kind not in ("args", "kwargs"):
        return text
    try:
        value = ast.literal_eval(spelled)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return spelled
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value if isinstance(value, dict) else spelled


def _first_text(values: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if (text := as_text(values.get(name)))), None)


def _named(value: Any) -> str | None:
    return None if value is None else str(value)


def _seconds(ms: Any) -> float | None:
    value = _finite(ms)
    return None if value is None else value / 1000


def _finite(value: Any) -> float | None:
    """Return a number; Python's JSON has NaN and infinity for what somebody's division by 0 made."""
    number = as_number(value)
    return number if number is not None and math.isfinite(number) else None
