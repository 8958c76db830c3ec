"""A difference between two runs as Markdown, which reads well in a terminal too."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_agentcap.report.difference import Difference, FigureChange, TaskChange
from pytest_agentcap.report.markdown import NOT_KNOWN, cell, figure, table

_WORDS = {
    "duration_s": {"better": "faster", "worse": "slower"},
    "cost_usd": {"better": "cheaper", "worse": "dearer"},
}
_FORMS = {"success": ".1%", "score": ".1f", "cost_usd": ".4f"}


def difference_markdown(before: str, after: str, told: Difference) -> str:
    """Write what changed from the run `before` to the run `after`."""
    return "\n".join(_lines(before, after, told)) + "\n"


def _lines(before: str, after: str, told: Difference) -> Iterator[str]:
    yield from (f"# {cell(before)} → {cell(after)}", "")
    head = ("figure", "tasks", "before", "after", "difference", "95 % interval", "p", "")
    yield from table(head, (_figure_row(each) for each in told.figures if each.tasks))
    for change, title in (("worse", "Worse"), ("better", "Better"), ("changed", "Changed verdict")):
        tasks = [task for task in told.tasks if task.change == change]
        if tasks:
            yield from ("", f"## {title}", "")
            yield from table(("task", "before", "after", "score"), map(_task_row, tasks))
    yield from ("", f"{len(told.changed('same'))} of {len(told.tasks)} common tasks ended alike.")
    for names, run in ((told.only_before, before), (told.only_after, after)):
        if names:
            yield from ("", f"Only in {cell(run)}, not compared: {', '.join(map(cell, names))}.")


def _figure_row(each: FigureChange) -> tuple[str, ...]:
    form = _FORMS.get(each.name, ",.1f")
    interval = NOT_KNOWN if each.interval is None else " to ".join(format(end, f"+{form}") for end in each.interval)
    return (
        each.name,
        str(each.tasks),
        figure(each.before, form),
        figure(each.after, form),
        figure(each.difference, f"+{form}"),
        interval,
        figure(each.p, ".3f"),
        _WORDS.get(each.name, {}).get(each.direction, each.direction),
    )


def _task_row(task: TaskChange) -> tuple[str, ...]:
    score = figure(task.score, "+.1f")
    return (f"{task.repo}/{task.task_id}", ", ".join(task.before), ", ".join(task.after), score)
