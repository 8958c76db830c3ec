"""REPORT.md: what the runs come to, for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_agentcap.report.outcomes import ReportedRun, SessionOutcome
from pytest_agentcap.report.summary import Summary, by, contender, leaderboard, summarize
from pytest_agentcap.text import printable

NOT_KNOWN = "–"
_VALUE_CHARS = 100
_HEAD = (
    *(
        "tasks",
        "sessions",
        "success",
        "95 % interval",
        "score",
        "calls",
        "commands",
        "tokens",
        "cost $",
        "safety events",
    ),
    "not judged",
)


def report_markdown(runs: Sequence[ReportedRun]) -> str:
    """Write the report: runs, leaderboard, summary for each repository or corpus, and every session.

    AgentGym's headings and columns keep their names where it has them.
    """
    return "\n".join(_lines(runs)) + "\n"


def _lines(runs: Sequence[ReportedRun]) -> Iterator[str]:
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    groups = by(outcomes, lambda each: each.group)
    yield from ("# Report", "", "## Runs", "")
    yield from table(("run", "agent", "model", "upstream", "sessions"), map(_run_row, runs))
    yield from ("", "## Leaderboard", "")
    yield from table(("agent · model", *_HEAD), ((name, *_cells(told)) for name, told in leaderboard(outcomes)))
    yield from ("", "## Summary", "")
    rows = [(name, *_cells(summarize(group))) for name, group in groups.items()]
    yield from table(("repository or corpus", *_HEAD), [*rows, ("**overall**", *_cells(summarize(outcomes)))])
    yield from _reasons(summarize(outcomes))
    for name, group in groups.items():
        yield from ("", f"## {cell(name)}", "")
        yield from _sessions(group)
        yield from _wrong_outputs(group)


def _run_row(run: ReportedRun) -> tuple[str, ...]:
    told = [str(run.manifest.get(name) or NOT_KNOWN) for name in ("agent", "model", "upstream")]
    return (run.directory.id, *told, str(len(run.outcomes)))


def _cells(told: Summary) -> tuple[str, ...]:
    return (
        str(told.tasks),
        str(told.sessions),
        NOT_KNOWN if told.success_rate is None else f"{told.success_rate:.1%} ({told.passed}/{told.judged})",
        NOT_KNOWN if told.interval is None else f"{told.interval[0]:.1%} to {told.interval[1]:.1%}",
        figure(told.score, ".1f"),
        figure(told.calls, ","),
        figure(told.commands, ","),
        figure(told.tokens, ","),
        figure(told.cost_usd, ".4f"),
        figure(told.safety_events, ","),
        _counted(told.apart) or "0",
    )


def _reasons(told: Summary) -> Iterator[str]:
    if told.failures:
        yield from ("", f"Failed by: {_counted(told.failures)}.")
    if told.safety_kinds:
        yield from ("", f"Safety events: {_counted(told.safety_kinds)}.")
    if told.apart:
        yield from ("", "Sessions that were not judged count neither for nor against an agent.")
    if told.unknown:
        yield from ("", f"Not known of some sessions, which the sums leave out: {_counted(told.unknown)}.")


def _sessions(group: Sequence[SessionOutcome]) -> Iterator[str]:
    contenders = by(group, contender)
    named = len(contenders) > 1
    head = ("task_id", "verdict", "score", "commands", "calls", "tokens", "seconds", "safety_violations")
    yield from table(
        (*(("agent · model",) if named else ()), *head, "first_failure"),
        ((*((name,) if named else ()), *_row(each)) for name, members in contenders.items() for each in members),
    )


def _wrong_outputs(group: Sequence[SessionOutcome]) -> Iterator[str]:
    """Tell what was expected of each output that is wrong, and what came."""
    wrong = [(each, output) for each in group for output in each.outputs if not output.get("ok")]
    if not wrong:
        return
    named = len({contender(each) for each in group}) > 1
    yield from ("", f"### Wrong outputs of {cell(wrong[0][0].group)}", "")
    yield from table(
        (*(("agent · model",) if named else ()), "task_id", "output", "expected", "actual"),
        ((*((contender(each),) if named else ()), _task_name(each), *_output(output)) for each, output in wrong),
    )


def _output(output: Mapping[str, Any]) -> tuple[str, str, str]:
    actual = str(output["problem"]) if output.get("problem") else _value(output.get("actual"))
    return str(output.get("key")), _value(output.get("expected")), actual


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}…"


def _task_name(each: SessionOutcome) -> str:
    return each.task + (f" (trial {each.trial})" if each.trial > 1 else "")


def _row(each: SessionOutcome) -> tuple[str, ...]:
    return (
        _task_name(each),
        each.verdict,
        figure(each.score, ".1f"),
        figure(each.commands, ","),
        figure(each.calls, ","),
        figure(each.tokens, ","),
        figure(each.duration_s, ".1f"),
        NOT_KNOWN if each.safety is None else str(len(each.safety)),
        each.failure or "",
    )


def figure(value: float | None, form: str) -> str:
    """Write a figure, or a dash for one that is not known."""
    return NOT_KNOWN if value is None else format(value, form)


def cell(text: str) -> str:
    """Write captured text as Markdown that is nothing but text, in one line."""
    shown = printable(text).replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{sign}" if sign in "\\`*[]|~" else sign for sign in shown)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table; what stands in its rows may be captured text."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(text if text.startswith('**') else cell(text) for text in row)} |"
