"""Steps that agents told of themselves, for sessions whose calls went past the proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET

from pytest_agentcap.formats.eval_rows import Message, Plan, Step, Thought, ToolCall
from pytest_agentcap.runs.layout import RunDirectory

_UNKNOWN_TOOL = "unknown"


def told_steps(run: RunDirectory, result: Mapping[str, Any]) -> list[Step]:
    """Read the steps of a session's turns, as its result lists these; timestamps are ms of all turns so far.

    Raises ValueError naming a file that is broken.
    """
    return list(_steps(run, result))


def _steps(run: RunDirectory, result: Mapping[str, Any]) -> Iterator[Step]:
    elapsed_ms = 0.0
    for turn in result.get("turns") or ():
        path = run.output(str(result["session"]), int(turn["turn"]), "steps.jsonl")
        if path.exists():
            try:
                told = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
                yield from (step_row(step, elapsed_ms) for step in told)
            except (ValueError, KeyError) as error:
                raise ValueError(f"{path}: not a file of steps: {error}") from error
        elapsed_ms += 1000 * (turn.get("duration_s") or 0)


def step_row(told: Mapping[str, Any], elapsed_ms: float = 0.0) -> Step:
    """Return a step as it stands in result files; `told` has the keys of a steps file, those not known left out."""
    at = told.get("at_ms")
    timestamp = None if at is None else round(elapsed_ms + at, 3)
    content = told.get("content") or ""
    match told["type"]:
        case "thought":
            return Thought(content=content, timestamp=timestamp)
        case "message":
            return Message(content=content, timestamp=timestamp)
        case "plan":
            return Plan(entries=[content] if content else [], timestamp=timestamp)
        case "tool_call":
            return ToolCall(
                name=told.get("name") or _UNKNOWN_TOOL,
                status=told.get("status") or "pending",
                input=told.get("input", UNSET),
                output=told.get("output", UNSET),
                duration=told.get("duration_ms", UNSET),
                timestamp=timestamp,
                step_id=told.get("call_id", UNSET),
            )
        case other:
            raise ValueError(f"unknown type {other!r}")
