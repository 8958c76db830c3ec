"""What an agent tells of its own work while it works: the steps of a trajectory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pytest_agentcap.runs.layout import write_whole

StepType = Literal["message", "thought", "plan", "tool_call"]
STEP_TYPES: tuple[StepType, ...] = get_args(StepType)
UNKNOWN_TOOL = "unknown"
_ENDED = frozenset({"completed", "failed"})


@dataclass(frozen=True, slots=True)
class Step:
    """Tell one step: a text of the agent (`content`), or a tool call (`name`, `status`, what went in and came out).

    `at_ms` counts from the start of the turn and is None where it is not known; `duration_ms` is that of a tool call
    whose end was told.
    """

    type: StepType
    content: str | None = None
    name: str | None = None
    status: str | None = None
    at_ms: float | None = None
    duration_ms: float | None = None
    call_id: str | None = None
    input: Any = None
    output: Any = None


def join_calls(steps: Iterable[Step]) -> list[Step]:
    """Put the end of each tool call to its beginning: by the call's id, else to the first open call of that name."""
    joined: list[Step] = []
    for step in steps:
        place = _beginning(joined, step) if step.type == "tool_call" else None
        if place is None:
            joined.append(step)
            continue
        begun = joined[place]
        told = {key: value for key in ("input", "output") if (value := getattr(step, key)) is not None}
        joined[place] = replace(begun, status=step.status or begun.status, duration_ms=_between(begun, step), **told)
    return joined


def _beginning(joined: Sequence[Step], step: Step) -> int | None:
    for place, earlier in enumerate(joined):
        if earlier.type != "tool_call" or earlier.status in _ENDED:
            continue
        if step.call_id is not None:
            if earlier.call_id == step.call_id:
                return place
        elif step.status in _ENDED and earlier.name == step.name:
            return place
    return None


def _between(begun: Step, step: Step) -> float | None:
    if step.status not in _ENDED or begun.at_ms is None or step.at_ms is None:
        return begun.duration_ms
    return round(step.at_ms - begun.at_ms, 3)


def write_arrivals(path: Path, arrivals: Sequence[float | None]) -> None:
    """Write when the lines of a turn's output came, in ms, as a list; no file when that is not known."""
    if arrivals:
        write_whole(path, json.dumps(list(arrivals)).encode() + b"\n")


def write_steps(path: Path, steps: Sequence[Step]) -> None:
    """Write the steps of one turn as JSON lines, without what is not known; no file when there are none."""
    if steps:
        known = ({key: value for key, value in asdict(step).items() if value is not None} for step in steps)
        write_whole(path, "".join(json.dumps(each) + "\n" for each in known).encode())
