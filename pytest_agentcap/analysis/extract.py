"""What a headless program printed, read by its adapter schema, without running it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pytest_agentcap.agents import steps as told
from pytest_agentcap.agents.headless_output import read_output
from pytest_agentcap.agents.headless_schema import HeadlessSchema
from pytest_agentcap.agents.jsonpath import as_text, matches, select
from pytest_agentcap.formats.eval_rows import ExtractedResult, Message, RawOutput, Step
from pytest_agentcap.formats.told_steps import step_row
from pytest_agentcap.formats.trajectory import has_failed


def extract_row(schema: HeadlessSchema, raw: RawOutput) -> ExtractedResult:
    """Read a program's lines: every event is a step, and the last result the output, else the messages.

    Times are those at which lines came, None where they were not recorded.
    """
    arrivals = raw.arrivals if isinstance(raw.arrivals, list) else [None] * len(raw.raw_lines)
    steps, reply = _read(schema, raw.raw_lines, arrivals)
    messages = "\n".join(step.content for step in steps if isinstance(step, Message) and step.content)
    return ExtractedResult(
        id=raw.id,
        input=raw.input,
        hint=raw.hint,
        output=reply or messages,
        trajectory=steps,
        tool_errors=has_failed(steps) or bool(raw.error),
        metadata=raw.metadata,
        timing=raw.timing,
        error=raw.error,
        score=raw.score,
        outcome=raw.outcome,
        graders=raw.graders,
        verdict=raw.verdict,
        reason=raw.reason,
    )


def _read(schema: HeadlessSchema, lines: Sequence[str], arrivals: Sequence[float | None]) -> tuple[list[Step], str]:
    if schema.output_mode == "text":
        told = read_output(schema, "\n".join(lines), arrivals)
        return [step_row(_known(step)) for step in told.steps], told.reply
    steps: list[Step] = []
    reply = ""
    for line, at in zip(lines, arrivals, strict=False):
        event = _object(line)
        if event is None:
            continue
        if matches(select(event, schema.result.match_path), schema.result.match_value):
            reply = as_text(select(event, schema.result.content_path)) or reply
        # Line by line, so that nothing of one turn ends another.
        steps += [step_row(_known(step)) for step in read_output(schema, line, [at]).steps]
    return steps, reply


def _object(line: str) -> dict[str, Any] | None:
    """Return a line's object; programs print notices between them."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _known(step: told.Step) -> dict[str, Any]:
    return {key: value for key, value in asdict(step).items() if value is not None}
