"""Telemetry as result files and parquet rows keep it, and back.

A result file has the whole under `telemetry`. A row of a captures parquet has, as JSON text in the column `telemetry`,
the step and the tool spans of its call, and what its turn and session used. Texts are left out: the captures have them,
and what can be derived from captures is derived from them when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, get_args

from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.values import as_integer, as_number, as_object, as_objects, parse
from pytest_agentcap.telemetry.model import (
    UNMEASURED,
    ModelStep,
    Quality,
    Resources,
    SessionTelemetry,
    Source,
    ToolSpan,
)
from pytest_agentcap.telemetry.steps import model_steps
from pytest_agentcap.telemetry.tools import tool_spans

_TEXTS = frozenset({"output", "reasoning", "arguments"})
_COUNTS = frozenset(
    field.name
    for field in fields(Resources)
    if field.name.endswith("bytes") or field.name in ("processes", "survivors")
)
_SECONDS = frozenset(field.name for field in fields(Resources) if field.name.endswith("_s"))


def plain_telemetry(telemetry: SessionTelemetry) -> dict[str, Any]:
    """Return what a result file keeps."""
    calls: dict[str, dict[str, Any]] = {}
    for step in telemetry.steps:
        calls[step.request_id] = {"step": _without_texts(asdict(step)), "tools": []}
    for span in telemetry.tools:
        calls[span.request_id]["tools"].append(_without_texts(asdict(span)))
    return {
        "source": telemetry.session.source,
        "quality": telemetry.session.quality,
        "coverage": telemetry.coverage,
        "sampling": _sampling(telemetry.steps),
        "session": asdict(telemetry.session),
        "turns": [{"turn": number, **asdict(used)} for number, used in sorted(telemetry.turns.items())],
        "calls": calls,
    }


def _sampling(steps: Iterable[ModelStep]) -> dict[str, list[Any]]:
    """Return the values that steps asked for of each parameter; null is among them where some left it to the server."""
    found: dict[str, list[Any]] = {}
    for step in steps:
        for name, value in asdict(step.sampling).items():
            told, values = None if value == () else value, found.setdefault(name, [])
            if told not in values:
                values.append(told)
    return {name: values for name, values in found.items() if values != [None]}


def _without_texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _TEXTS}


def read_telemetry(conversation: Conversation) -> SessionTelemetry:
    """Derive steps and spans from a session's captures, and put to them what was measured when it ran.

    A session that nobody measured has resources of the source `none`.
    """
    steps, spans = model_steps(conversation), tool_spans(conversation)
    cells = [cell for call in conversation.calls if (cell := _cell(call.record.facts.get("telemetry")))]
    measured = {str(kept.get("span_id")): kept for cell in cells for kept in as_objects(cell.get("tools"))}
    turns = {}
    for cell in cells:
        turn = as_object(cell.get("turn"))
        if (number := as_integer(turn.get("turn"))) is not None:
            turns[number] = read_resources(turn)
    whole = as_object(cells[-1].get("session")) if cells else {}
    return SessionTelemetry(
        steps,
        tuple(_measured(span, measured.get(span.span_id, {})) for span in spans),
        turns,
        read_resources(whole),
        as_number(whole.get("coverage")),
    )


def read_resources(values: Mapping[str, Any]) -> Resources:
    """Read resources back from plain data; what is not there or of another type is None."""
    counts = {name: as_integer(values.get(name)) for name in _COUNTS}
    seconds = {name: as_number(values.get(name)) for name in _SECONDS}
    known = replace(UNMEASURED, **counts, **seconds)  # type: ignore[arg-type]
    source: Source | None = next((each for each in get_args(Source) if each == values.get("source")), None)
    quality: Quality | None = next((each for each in get_args(Quality) if each == values.get("quality")), None)
    return replace(known, source=source or "none", quality=quality or "none")


def _cell(text: Any) -> dict[str, Any]:
    return as_object(parse(text)) if isinstance(text, str) else {}


def _measured(span: ToolSpan, kept: Mapping[str, Any]) -> ToolSpan:
    """Take times, exit code and resources from what was kept of a span; what its captures say stays where not."""
    span = replace(span, resources=read_resources(as_object(kept.get("resources"))))
    if kept.get("timing") == "process":
        start, end = as_integer(kept.get("started_at_ns")), as_integer(kept.get("ended_at_ns"))
        span = replace(span, started_at_ns=start, ended_at_ns=end, timing="process")
    if kept.get("exit_code_source") == "process":
        span = replace(span, exit_code=as_integer(kept.get("exit_code")), exit_code_source="process")
    background = kept.get("background")
    return replace(span, background=background if isinstance(background, bool) else None)
