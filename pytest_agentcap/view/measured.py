"""What was measured of a session's tools and turns, where its result file or its rows tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.values import as_object, as_objects, as_text, parse

_OF_TOOL = ("name", "position", "started_at_ns", "ended_at_ns", "timing", "exit_code", "background", "resources")


def measured(result: Mapping[str, Any], calls: Sequence[Call]) -> dict[str, Any] | None:
    """Return what session and turns used, and for each call's number its tools; None where nobody measured.

    A result file has it as a whole; a row of a captures parquet has that of its own call, turn and session.
    """
    whole = as_object(result.get("telemetry"))
    of_calls = as_object(whole.get("calls"))
    cells = [as_object(of_calls.get(call.rid)) or _cell(call) for call in calls]
    tools = {str(number): _tools(cell) for number, cell in enumerate(cells) if cell.get("tools")}
    session = as_object(whole.get("session")) or _last(as_object(cell.get("session")) for cell in cells)
    turns = as_objects(whole.get("turns")) or _by_turn(as_object(cell.get("turn")) for cell in cells)
    if not (whole or tools or session or turns):
        return None
    coverage = whole.get("coverage", session.get("coverage"))
    return {"session": session, "turns": turns, "coverage": coverage, "tools": tools}


def _cell(call: Call) -> dict[str, Any]:
    return as_object(parse(as_text(call.record.facts.get("telemetry")) or ""))


def _tools(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{name: tool.get(name) for name in _OF_TOOL} for tool in as_objects(cell.get("tools"))]


def _last(values: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return next((value for value in reversed(list(values)) if value), {})


def _by_turn(turns: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {turn["turn"]: turn for turn in turns if isinstance(turn.get("turn"), int)}
    return [known[number] for number in sorted(known)]
