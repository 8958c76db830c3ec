"""What the output of a headless program means by its schema: steps, the reply, the session's id."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pytest_agentcap.agents.headless_schema import EventMapping, HeadlessSchema, TypeMap
from pytest_agentcap.agents.jsonpath import as_text, matches, matching_items, select
from pytest_agentcap.agents.steps import STEP_TYPES, UNKNOWN_TOOL, Step, StepType, join_calls


@dataclass(frozen=True, slots=True)
class HeadlessAnswer:
    """Hold what one turn's output told."""

    reply: str
    session_id: str | None
    steps: tuple[Step, ...]


def read_output(schema: HeadlessSchema, output: str, arrivals: Sequence[float | None] = ()) -> HeadlessAnswer:
    """Read a turn's JSON lines, or its text; `arrivals` says when each line came, in ms of the turn.

    The first event that is the result ends the turn: what comes after it is not looked at. It may be a step as well.
    A turn without one, or with an empty one, is answered by its messages.
    """
    if schema.output_mode == "text":
        return _text_answer(output.strip(), arrivals)
    steps: list[Step] = []
    reply, session = "", None
    for event, at_ms in _events(output, arrivals):
        session = _session_id(schema, event) or session
        steps += (replace(step, at_ms=at_ms) for step in _steps(schema, event))
        if matches(select(event, schema.result.match_path), schema.result.match_value):
            reply = as_text(select(event, schema.result.content_path)) or ""
            break
    if not reply:
        reply = "\n".join(step.content for step in steps if step.type == "message" and step.content)
    return HeadlessAnswer(reply, session, tuple(join_calls(steps)))


def _text_answer(text: str, arrivals: Sequence[float | None]) -> HeadlessAnswer:
    steps = (Step("message", content=text, at_ms=arrivals[-1] if arrivals else None),) if text else ()
    return HeadlessAnswer(text, None, steps)


def _events(output: str, arrivals: Sequence[float | None]) -> Iterator[tuple[dict[str, Any], float | None]]:
    """Yield the objects among the lines: programs print notices between them."""
    lines = output.split("\n")
    # Of an output that is too long the beginning is left out: times belong to lines from the end.
    offset = len(arrivals) - (len(lines) if lines[-1] else len(lines) - 1)
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("{"):
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        place = number + offset
        yield event, arrivals[place] if 0 <= place < len(arrivals) else None


def _session_id(schema: HeadlessSchema, event: dict[str, Any]) -> str | None:
    if schema.resume is None:
        return None
    told = select(event, schema.resume.session_id_path) or event.get("session_id")
    return told if isinstance(told, str) else None


def _steps(schema: HeadlessSchema, event: dict[str, Any]) -> list[Step]:
    if schema.output_mode == "passthrough":
        return _native_steps(schema.passthrough_type_map or TypeMap(), event)
    items: dict[int, Step] = {}
    for mapping in schema.output_events:
        found = select(event, mapping.match.path)
        if isinstance(found, list):
            # Each item is taken by the first mapping that it matches: a text beside a tool call is another step.
            for place, item in matching_items(found, mapping.match.value):
                items.setdefault(place, _mapped_step(mapping, item))
        elif not items and matches(found, mapping.match.value):
            return [_mapped_step(mapping, event)]
    return [items[place] for place in sorted(items)]


def _mapped_step(mapping: EventMapping, value: Any) -> Step:
    def at(path: str | None) -> Any:
        return None if path is None else select(value, path)

    extract = mapping.extract
    if mapping.emit_as != "tool_call":
        return Step(mapping.emit_as, content=as_text(at(extract.content)) or "")
    name, status = as_text(at(extract.title)), as_text(at(extract.status))
    return _tool_call(name, status, at(extract.input), at(extract.output))


def _native_steps(types: TypeMap, event: dict[str, Any]) -> list[Step]:
    kind = event.get(types.type_field)
    if not isinstance(kind, str):
        return []
    named = (types.type_values or {}).get(kind, kind)
    if named not in STEP_TYPES:
        return []
    if named == "tool_call":
        name, status = event.get("name") or event.get("title"), event.get("status")
        return [_tool_call(as_text(name), as_text(status), event.get("input"), event.get("output"))]
    content = event.get("content")
    return [Step(cast(StepType, named), content=content if isinstance(content, str) else "")]


def _tool_call(name: str | None, status: str | None, given: Any, told: Any) -> Step:
    return Step("tool_call", name=name or UNKNOWN_TOOL, status=status or "pending", input=given, output=told)
