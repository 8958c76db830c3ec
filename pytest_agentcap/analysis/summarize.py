"""Sessions at a glance: one row, or one record of Markdown, for each."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from pytest_agentcap.analysis.texts import cut, fence, fixed, joined, number, plain
from pytest_agentcap.formats.eval_rows import CaptureResult, Message, Plan, Step, SummaryResult, Thought, ToolCall

_TEXT, _PLAN, _OUTPUT = 100, 80, 200
_WHOLE_FILE = 500
_HEAD_LINES, _TAIL_LINES = 8, 4


def summary_row(row: CaptureResult) -> SummaryResult:
    """Return a session's prompt, answer, tools by name in the order of their calls, and duration in ms."""
    return SummaryResult(
        id=row.id,
        input=joined(row.input, "\n"),
        output=row.output,
        tool_calls=[step.name for step in row.trajectory if isinstance(step, ToolCall)],
        duration=duration_of(row),
    )


def duration_of(row: CaptureResult) -> float | None:
    """Return how long a session took, in ms; None when its times are not known."""
    start, end = row.timing.start, row.timing.end
    return row.timing.total if start is None or end is None else end - start


def summary_markdown(row: CaptureResult) -> str:
    """Write a session as a record: prompt, steps in short, answer, metadata, score."""
    return "\n".join(_record(row))


def _record(row: CaptureResult) -> Iterator[str]:
    yield from (f"## Evaluation Record: {row.id}", "", f"**Input:** {joined(row.input, chr(10))}", "")
    yield "**Trajectory:**"
    for place, step in enumerate(row.trajectory, 1):
        yield from _step(step, place, f"[→{row.id}-step-{place}]")
    yield from ("", f"**Output:** {cut(row.output, _OUTPUT)}", "")
    if row.metadata:
        yield f"**Metadata:** {', '.join(f'{key}={plain(value)}' for key, value in row.metadata.items())}"
    yield f"**Tool Errors:** {plain(row.tool_errors)}"
    duration = duration_of(row)
    yield f"**Duration:** {'unknown' if duration is None else number(duration) + 'ms'}"
    if row.score is not UNSET and row.score:
        yield f"**Score:** {'PASS' if row.score.passed else 'FAIL'} ({number(row.score.score)})"
        if row.score.reasoning:
            yield f"**Reasoning:** {row.score.reasoning}"
    elif row.verdict:
        yield f"**Verdict:** {row.verdict}" + (f" ({row.reason})" if row.reason else "")
    yield from ("", "---", "")


def _step(step: Step, place: int, mark: str) -> Iterator[str]:
    match step:
        case Thought():
            yield f"{place}. [THOUGHT] {cut(step.content, _TEXT)} {mark}"
        case Message():
            yield f"{place}. [MESSAGE] {cut(step.content, _TEXT)} {mark}"
        case Plan():
            entries = ", ".join(_entry(entry) for entry in step.entries)
            yield f"{place}. [PLAN] {cut(entries, _PLAN)} {mark}"
        case ToolCall():
            took = f" ({fixed(step.duration, 0)}ms)" if isinstance(step.duration, int | float) and step.duration else ""
            yield f"{place}. [TOOL:{step.name}] -> {step.status}{took} {mark}"
            yield from _file(step)


def _entry(entry: object) -> str:
    if not isinstance(entry, dict):
        return plain(entry)
    text = entry.get("content", entry.get("step"))
    return f"{plain(text)}: {plain(entry['status'])}" if "status" in entry else plain(text)


def _file(step: ToolCall) -> Iterator[str]:
    """Tell the file that a tool was given: its path, and what is to be in it."""
    given = step.input if isinstance(step.input, dict) else {}
    path = given.get("file_path", given.get("path"))
    content = given.get("content", given.get("new_string"))
    path = path if isinstance(path, str) else None
    content = content if isinstance(content, str) else None
    if path is not None:
        yield f"   File: {path}" + (f" ({len(content)} chars)" if content else "")
    if not content:
        return
    ticks = fence(content)
    yield f"   {ticks}{path.rpartition('.')[2] if path else 'typescript'}"
    yield from (f"   {line}" for line in _excerpt(content))
    yield f"   {ticks}"


def _excerpt(content: str) -> list[str]:
    lines = content.split("\n")
    omitted = len(lines) - _HEAD_LINES - _TAIL_LINES
    if len(content) <= _WHOLE_FILE or omitted <= 0:
        return lines
    return [*lines[:_HEAD_LINES], "", f"// ... {omitted} lines omitted ...", "", *lines[-_TAIL_LINES:]]
