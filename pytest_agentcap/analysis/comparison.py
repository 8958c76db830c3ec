"""Runs set side by side: which tasks they share, what makes them unlike each other, and who was better on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from pytest_agentcap.analysis.sources import Kind, Results
from pytest_agentcap.analysis.statistics import Bootstrap, cohens_d, holm, mean, permutation_p_value
from pytest_agentcap.analysis.strategies import Standing, Strategy
from pytest_agentcap.formats.comparison_rows import Pair, PairedTest
from pytest_agentcap.formats.eval_files import ResultsError
from pytest_agentcap.formats.eval_rows import CaptureResult, TrialResult

_SHOWN_IDS = 5


@dataclass(frozen=True, slots=True)
class Setup:
    """Hold what is compared: each run's rows by task, in the order of the files.

    `all_tasks` makes each run's figures those of all of its tasks; else they are of the tasks that every run has.
    """

    kind: Kind
    runs: Mapping[str, Mapping[str, Any]]
    strategy: Strategy
    bootstrap: Bootstrap | None = None
    all_tasks: bool = False

    @property
    def labels(self) -> list[str]:
        return list(self.runs)

    @property
    def union(self) -> list[str]:
        return list(dict.fromkeys(task for rows in self.runs.values() for task in rows))

    @property
    def common(self) -> list[str]:
        return [task for task in self.union if all(task in rows for rows in self.runs.values())]

    @property
    def shared(self) -> list[str]:
        """Return the tasks of two runs or more."""
        return [task for task in self.union if sum(task in rows for rows in self.runs.values()) > 1]

    def task(self, task: str) -> dict[str, Any]:
        """Return a task's rows by run."""
        return {run: rows[task] for run, rows in self.runs.items() if task in rows}

    def counted(self, run: str) -> list[Any]:
        """Return the rows that a run's figures are made of."""
        rows = self.runs[run]
        return list(rows.values()) if self.all_tasks else [rows[task] for task in self.common]


def set_up(
    sources: Sequence[tuple[str, Results]], strategy: Strategy, bootstrap: Bootstrap | None, all_tasks: bool
) -> Setup:
    """Put sources side by side, under their labels; raises ResultsError when they cannot be compared."""
    kinds = {results.kind for _, results in sources}
    if len(kinds) > 1:
        told = ", ".join(f"{results.name} holds {_rows_of(results.kind)}" for _, results in sources)
        raise ResultsError(f"{told}: compare rows of one kind")
    runs: dict[str, dict[str, Any]] = {}
    for label, results in sources:
        if label in runs:
            raise ResultsError(f"two runs are called {label!r}: name them with --run LABEL:PATH")
        runs[label] = _by_task(results)
    setup = Setup(kinds.pop(), runs, strategy, bootstrap, all_tasks)
    if not setup.common and not all_tasks:
        raise ResultsError(f"no task is in all of {', '.join(runs)}: nothing can be compared")
    return setup


def _rows_of(kind: Kind) -> str:
    return "TrialResult rows" if kind == "trials" else "CaptureResult rows"


def _by_task(results: Results) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    told: list[CaptureResult | TrialResult] = [*results.captures, *results.trials]
    for row in told:
        if row.id in rows:
            raise ResultsError(f"{results.name}: holds the task {row.id!r} twice: compare one run of one corpus")
        rows[row.id] = row
    return rows


def unlike(setup: Setup) -> Iterator[str]:
    """Tell what makes the runs unlike each other."""
    common = set(setup.common)
    for run, rows in setup.runs.items():
        alone = [task for task in rows if task not in common]
        if alone:
            shown = ", ".join(alone[:_SHOWN_IDS]) + (", …" if len(alone) > _SHOWN_IDS else "")
            use = "counted all the same" if setup.all_tasks else "left out"
            yield f"{run}: {len(alone)} of {len(rows)} tasks are not in every run, and {use}: {shown}"
    if setup.kind == "trials":
        ks = {run: sorted({row.k for row in setup.counted(run)}) for run in setup.labels}
        if len({tuple(each) for each in ks.values()}) > 1 or any(len(each) > 1 for each in ks.values()):
            told = "; ".join(f"{run}: {', '.join(map(str, each))}" for run, each in ks.items())
            yield f"the number of trials differs ({told}): passAtK and passExpK are not of the same k"


def standings(setup: Setup) -> dict[str, Standing]:
    """Rank the runs on each task that two or more of them have."""
    return {task: setup.strategy(setup.task(task)) for task in setup.shared}


def count_pairs(setup: Setup, ranks: Mapping[str, Mapping[str, float]]) -> list[Pair]:
    """Count for each pair of runs, over the tasks on which both have a rank, who was better; low ranks are better."""
    pairs = []
    for a, b in combinations(setup.labels, 2):
        both = [(each[a], each[b]) for each in ranks.values() if a in each and b in each]
        wins, losses = sum(x < y for x, y in both), sum(x > y for x, y in both)
        pairs.append(Pair(a, b, wins, losses, len(both) - wins - losses))
    return pairs


@dataclass(frozen=True, slots=True)
class Figures:
    """Hold one figure of each run by task; None where a task has none."""

    metric: str
    values: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def paired_tests(setup: Setup, figures: Sequence[Figures]) -> list[PairedTest]:
    """Test each figure for each pair of runs, over the tasks that have it in both."""
    bootstrap = setup.bootstrap or Bootstrap()
    return [test for each in figures for test in _tests(setup, each, bootstrap)]


def _tests(setup: Setup, figures: Figures, bootstrap: Bootstrap) -> Iterator[PairedTest]:
    pairs = list(combinations(setup.labels, 2))
    values = [_both(figures.values[a], figures.values[b]) for a, b in pairs]
    p_values = [permutation_p_value([x - y for x, y in both], bootstrap.seed) for both in values]
    for (a, b), both, p, adjusted in zip(pairs, values, p_values, holm(p_values), strict=True):
        differences = [x - y for x, y in both]
        yield PairedTest(
            run_a=a,
            run_b=b,
            metric=figures.metric,
            tasks=len(both),
            mean_a=mean([x for x, _ in both]),
            mean_b=mean([y for _, y in both]),
            difference=mean(differences),
            interval=bootstrap.mean(differences),
            p_value=p,
            p_adjusted=adjusted,
            effect_size=cohens_d(differences),
        )


def _both(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> list[tuple[float, float]]:
    return [(x, y) for task, x in a.items() if x is not None and (y := b.get(task)) is not None]
