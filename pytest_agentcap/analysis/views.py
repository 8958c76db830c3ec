"""Results as JSON lines, CSV or Markdown, whatever kind of row they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import replace

from pytest_agentcap.analysis.texts import cut, fence, fixed, joined, number
from pytest_agentcap.formats.eval_files import Record
from pytest_agentcap.formats.eval_rows import Fraction, GraderResult, Input, Number, OptionalText
from pytest_agentcap.formats.lines import json_line

_INPUT, _OUTPUT = 100, 500
_COLUMNS = ("id", "input", "hint", "output", "tool_errors", "duration_ms")
_GRADES = ("pass", "score", "reasoning")


class _Timing(Struct, frozen=True):
    total: Number | None = None


class _Trial(Struct, frozen=True, rename="camel"):
    trial_num: int
    output: str
    duration: Number | None = None
    tool_errors: bool = False
    passed: bool | UnsetType = field(name="pass", default=UNSET)
    score: Fraction | UnsetType = UNSET
    reasoning: OptionalText = UNSET
    verdict: OptionalText = UNSET
    reason: OptionalText = UNSET


class View(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold what is shown of a row; other keys of it are let be. `trial_num` is there for one of several trials."""

    id: str
    input: Input
    hint: OptionalText = UNSET
    output: str | UnsetType = UNSET
    tool_errors: bool = False
    timing: _Timing = _Timing()
    score: GraderResult | UnsetType = UNSET
    error: OptionalText = UNSET
    verdict: OptionalText = UNSET
    reason: OptionalText = UNSET
    trials: list[_Trial] | UnsetType = UNSET
    trial_num: int | UnsetType = UNSET


def read_views(records: Sequence[Record]) -> list[View]:
    """Read what is shown of rows; each trial of a TrialResult is one. Raises ResultsError."""
    return [view for record in records for view in _views(record.to(View))]


def _views(view: View) -> Iterator[View]:
    if not isinstance(view.trials, list):
        yield view
        return
    for trial in view.trials:
        score: Any = UNSET
        if trial.passed is not UNSET and trial.score is not UNSET:
            score = GraderResult(trial.passed, trial.score, trial.reasoning)
        yield replace(
            view,
            output=trial.output,
            tool_errors=trial.tool_errors,
            timing=_Timing(trial.duration),
            score=score,
            verdict=trial.verdict,
            reason=trial.reason,
            trials=UNSET,
            trial_num=trial.trial_num,
        )


def jsonl_text(values: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as they are, each on its line."""
    return "".join(json_line("", value).data.decode() for value in values)


def csv_text(views: Sequence[View]) -> str:
    r"""Write one line for each row: texts quoted, a newline in them as the two characters `\n`."""
    graded = any(isinstance(view.score, GraderResult) for view in views)
    several = any(view.trial_num is not UNSET for view in views)
    head = [*_COLUMNS, *(_GRADES if graded else ()), *(["trial"] if several else [])]
    return "".join(f"{','.join(line)}\n" for line in (head, *(_cells(view, graded, several) for view in views)))


def _cells(view: View, graded: bool, several: bool) -> list[str]:
    total = view.timing.total
    cells = [
        _quoted(view.id),
        _quoted(joined(view.input, " | ")),
        _quoted(view.hint or ""),
        _quoted(view.output or ""),
        "true" if view.tool_errors else "false",
        "" if total is None else number(total),
    ]
    if graded and isinstance(view.score, GraderResult):
        passed = "true" if view.score.passed else "false"
        cells += [passed, fixed(view.score.score, 3), _quoted(view.score.reasoning or "")]
    elif graded:
        cells += ["", "", ""]
    return [*cells, *([str(view.trial_num or "")] if several else [])]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""').replace("\n", "\\n") + '"'


def markdown_text(views: Sequence[View], now: datetime) -> str:
    """Write a page: pass rate and average score of the graded rows, then each row in short."""
    stamp = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    lines = ["# Evaluation Results", "", f"Generated: {stamp}", f"Total: {len(views)} test cases", ""]
    scores = [view.score for view in views if isinstance(view.score, GraderResult)]
    if scores:
        passed = sum(score.passed for score in scores)
        average = sum(score.score for score in scores) / len(scores)
        rate = f"{passed}/{len(scores)} ({fixed(100 * passed / len(scores), 1)}%)"
        lines += ["## Summary", "", f"- **Pass rate**: {rate}", f"- **Average score**: {fixed(average, 3)}", ""]
    lines += ["## Results", ""]
    for view in views:
        lines += _record(view)
    return "\n".join(lines) + "\n"


def _record(view: View) -> Iterator[str]:
    trial = f" (trial {view.trial_num})" if view.trial_num is not UNSET else ""
    yield from (f"### {view.id}{trial}", "", f"**Input**: {cut(joined(view.input, ' → '), _INPUT)}", "")
    if view.hint:
        yield from (f"**Hint**: {view.hint}", "")
    output = cut(view.output or "", _OUTPUT)
    ticks = fence(output)
    yield from ("**Output**:", ticks, output, ticks, "")
    if isinstance(view.score, GraderResult):
        word = "PASS" if view.score.passed else "FAIL"
        yield f"**Score**: {'✅' if view.score.passed else '❌'} {fixed(view.score.score, 3)} ({word})"
        if view.score.reasoning:
            yield f"**Reasoning**: {view.score.reasoning}"
        yield ""
    elif view.verdict:
        yield from (f"**Verdict**: {view.verdict}" + (f" ({view.reason})" if view.reason else ""), "")
    if view.tool_errors:
        yield from ("⚠️ **Tool errors detected**", "")
    if view.error:
        yield from (f"❌ **Error**: {view.error}", "")
    yield from ("---", "")
