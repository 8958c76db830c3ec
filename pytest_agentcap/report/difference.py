"""What changed from one run to another: task by task, and beyond noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_agentcap.analysis.statistics import Bootstrap, mean, permutation_p_value

Change = Literal["better", "worse", "changed", "same"]
Direction = Literal["better", "worse", "within noise", "not comparable"]
Rows = Sequence[Mapping[str, Any]]

# What is compared, and whether more of it is better.
FIGURES: dict[str, bool] = {
    "success": True,
    "score": True,
    "calls": False,
    "commands_used": False,
    "tokens": False,
    "cost_usd": False,
    "duration_s": False,
}


@dataclass(frozen=True, slots=True)
class TaskChange:
    """Hold one task's verdicts, one for each trial, before and after; `score` is the change of its mean, if known.

    `change` is `better` or `worse` when its share of passed trials or its score moved, `changed` when other verdicts
    came or went.
    """

    repo: str
    task_id: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    score: float | None
    change: Change


@dataclass(frozen=True, slots=True)
class FigureChange:
    """Hold the means over common tasks that know a figure, and the 95 % interval of the mean paired difference.

    `interval` and `p` are None below two tasks; the figure is then not comparable.
    """

    name: str
    tasks: int
    before: float | None
    after: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    direction: Direction


@dataclass(frozen=True, slots=True)
class Difference:
    """Hold all that changed; tasks that only one of the two has are named and not compared."""

    tasks: tuple[TaskChange, ...]
    figures: tuple[FigureChange, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def regressed(self) -> tuple[str, ...]:
        """Name what is worse beyond noise among what a task is about: its success and its score."""
        return tuple(f.name for f in self.figures if f.direction == "worse" and f.name in ("success", "score"))

    def changed(self, change: Change) -> tuple[TaskChange, ...]:
        return tuple(task for task in self.tasks if task.change == change)


def difference(before: Rows, after: Rows, bootstrap: Bootstrap) -> Difference:
    """Compare the rows of two reports, paired by repository or corpus and task; trials of a task are averaged.

    Intervals are drawn over tasks (`Bootstrap`), p values by sign flips. Raises StatisticsError without scipy.
    """
    old, new = _by_task(before), _by_task(after)
    common = [key for key in old if key in new]
    return Difference(
        tasks=tuple(_task_change(key, old[key], new[key]) for key in common),
        figures=tuple(
            _figure(name, [(old[key], new[key]) for key in common], more, bootstrap) for name, more in FIGURES.items()
        ),
        only_before=tuple(_named(key) for key in old if key not in new),
        only_after=tuple(_named(key) for key in new if key not in old),
    )


def _by_task(rows: Rows) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    tasks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        tasks.setdefault((str(row["repo"]), str(row["task_id"])), []).append(row)
    return tasks


def _named(key: tuple[str, str]) -> str:
    return "/".join(key)


def _task_change(key: tuple[str, str], old: Rows, new: Rows) -> TaskChange:
    before, after = (tuple(str(row["verdict"]) for row in rows) for rows in (old, new))
    success, score = (_moved(old, new, name) for name in ("success", "score"))
    moves = [move for move in (success, score) if move]
    change: Change = "same" if sorted(before) == sorted(after) else "changed"
    if moves:
        change = "better" if moves[0] > 0 else "worse"
    return TaskChange(*key, before, after, score, change)


def _moved(old: Rows, new: Rows, name: str) -> float | None:
    before, after = _mean(old, name), _mean(new, name)
    return None if before is None or after is None else after - before


def _figure(name: str, pairs: Iterable[tuple[Rows, Rows]], more_is_better: bool, bootstrap: Bootstrap) -> FigureChange:
    known = [
        (before, after)
        for old, new in pairs
        if (before := _mean(old, name)) is not None and (after := _mean(new, name)) is not None
    ]
    differences = [after - before for before, after in known]
    interval = _interval(differences, bootstrap)
    return FigureChange(
        name=name,
        tasks=len(known),
        before=mean([before for before, _ in known]),
        after=mean([after for _, after in known]),
        difference=mean(differences),
        interval=interval,
        p=permutation_p_value(differences, bootstrap.seed) if len(differences) > 1 else None,
        direction=_direction(interval, more_is_better),
    )


def _interval(differences: Sequence[float], bootstrap: Bootstrap) -> tuple[float, float] | None:
    # All alike: nothing to draw, and scipy would warn of it.
    if len(differences) > 1 and len(set(differences)) == 1:
        return differences[0], differences[0]
    return bootstrap.mean(differences)


def _direction(interval: tuple[float, float] | None, more_is_better: bool) -> Direction:
    if interval is None:
        return "not comparable"
    low, high = interval
    if low <= 0 <= high:
        return "within noise"
    return "better" if (low > 0) == more_is_better else "worse"


def _mean(rows: Rows, name: str) -> float | None:
    return mean([float(value) for row in rows if (value := _value(row, name)) is not None])


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name != "tokens":
        return row.get(name)
    asked, answered = row.get("prompt_tokens"), row.get("completion_tokens")
    return None if asked is None or answered is None else asked + answered
