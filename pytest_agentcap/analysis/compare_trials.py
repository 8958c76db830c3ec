"""The comparison of runs of several trials of each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET

from pytest_agentcap.analysis.compare_captures import spread_of, stamp
from pytest_agentcap.analysis.comparison import Figures, Setup, count_pairs, paired_tests, standings, unlike
from pytest_agentcap.analysis.statistics import Bootstrap, mean, percentile
from pytest_agentcap.analysis.strategies import Standing, plug_in, rate_of, stand
from pytest_agentcap.analysis.trials import estimates, is_judged
from pytest_agentcap.formats.comparison_rows import (
    Capability,
    Flakiness,
    FlakyPrompt,
    Meta,
    Performance,
    RunEstimates,
    TrialHeadToHead,
    TrialPrompt,
    TrialQuality,
    TrialReliability,
    TrialsComparison,
)
from pytest_agentcap.formats.eval_rows import TrialResult

_MOST_FLAKY = 10


def compare_trials(setup: Setup, now: datetime) -> tuple[TrialsComparison, list[str]]:
    """Compare runs of TrialResult rows; return the report, and what went wrong with tasks, one line each."""
    overall = standings(setup)
    capable = {task: stand(_each(setup, task, _at_k)) for task in setup.shared}
    reliable = {task: stand(_each(setup, task, _exp_k)) for task in setup.shared}
    counted = {run: setup.counted(run) for run in setup.labels}
    warnings = [*unlike(setup), *_unjudged(counted)]
    quality = {run: scores for run, rows in counted.items() if (scores := _quality(rows, setup.bootstrap))}
    report = TrialsComparison(
        meta=Meta(
            generated_at=stamp(now),
            runs=setup.labels,
            prompt_count=len(setup.union),
            trials_per_prompt=next(iter(setup.runs[setup.labels[0]].values())).k,
            input_format="trials",
            warnings=warnings or UNSET,
        ),
        capability={run: _capability(rows, setup.bootstrap) for run, rows in counted.items()},
        reliability={run: _reliability(rows, setup.bootstrap) for run, rows in counted.items()},
        flakiness={run: _flakiness(rows) for run, rows in counted.items()},
        quality=quality or UNSET,
        performance={run: _performance(rows, setup.bootstrap) for run, rows in counted.items()},
        estimates={run: _estimates(rows, setup.bootstrap) for run, rows in counted.items()},
        head_to_head=TrialHeadToHead(*(count_pairs(setup, _ranks(each)) for each in (capable, reliable, overall))),
        per_prompt=[_prompt(setup, task, capable[task], reliable[task], overall[task]) for task in setup.shared],
        paired=UNSET if setup.bootstrap is None else paired_tests(setup, _figures(setup)),
    )
    return report, [f"{task}: {standing.problem}" for task, standing in overall.items() if standing.problem]


def _at_k(row: TrialResult) -> float | None:
    return plug_in(row)[0]


def _exp_k(row: TrialResult) -> float | None:
    return plug_in(row)[1]


def _gap(row: TrialResult) -> float | None:
    at_k, exp_k = plug_in(row)
    return None if at_k is None or exp_k is None else max(0.0, at_k - exp_k)


def _score(row: TrialResult) -> float | None:
    return mean(_scores(row))


def _each(setup: Setup, task: str, figure: Callable[[TrialResult], float | None]) -> dict[str, float | None]:
    return {run: figure(row) for run, row in setup.task(task).items()}


def _ranks(standings: Mapping[str, Standing]) -> dict[str, Mapping[str, float]]:
    return {task: standing.ranks for task, standing in standings.items()}


def _figures(setup: Setup) -> list[Figures]:
    told: dict[str, Callable[[TrialResult], float | None]] = {"passRate": rate_of, "score": _score}
    return [
        Figures(name, {run: {task: figure(row) for task, row in rows.items()} for run, rows in setup.runs.items()})
        for name, figure in told.items()
    ]


def _unjudged(counted: Mapping[str, Sequence[TrialResult]]) -> list[str]:
    lines = []
    for run, rows in counted.items():
        trials = [trial for row in rows for trial in row.trials]
        missing = sum(not is_judged(trial) for trial in trials)
        if missing:
            lines.append(f"{run}: {missing} of {len(trials)} trials were not judged, and are in no rate")
    return lines


def _over_tasks(rows: Sequence[TrialResult], figure: Callable[[TrialResult], float | None]) -> list[float]:
    return [value for row in rows if (value := figure(row)) is not None]


def _capability(rows: Sequence[TrialResult], bootstrap: Bootstrap | None) -> Capability:
    values = _over_tasks(rows, _at_k)
    return Capability(
        avg_pass_at_k=mean(values),
        median_pass_at_k=percentile(values, 0.5),
        p25_pass_at_k=percentile(values, 0.25),
        p75_pass_at_k=percentile(values, 0.75),
        confidence_intervals={"avgPassAtK": bootstrap.mean(values)} if bootstrap else UNSET,
    )


def _reliability(rows: Sequence[TrialResult], bootstrap: Bootstrap | None) -> TrialReliability:
    values = _over_tasks(rows, _exp_k)
    return TrialReliability(
        avg_pass_exp_k=mean(values),
        median_pass_exp_k=percentile(values, 0.5),
        p25_pass_exp_k=percentile(values, 0.25),
        p75_pass_exp_k=percentile(values, 0.75),
        confidence_intervals={"avgPassExpK": bootstrap.mean(values)} if bootstrap else UNSET,
    )


def _flakiness(rows: Sequence[TrialResult]) -> Flakiness:
    told = [(row.id, gap) for row in rows if (gap := _gap(row)) is not None]
    values = [gap for _, gap in told]
    flaky = sorted((each for each in told if each[1] > 0), key=lambda each: -each[1])
    top = [FlakyPrompt(task, gap) for task, gap in flaky[:_MOST_FLAKY]]
    return Flakiness(mean(values), percentile(values, 0.5), len(flaky), top)


def _scores(row: TrialResult) -> list[float]:
    return [trial.score for trial in row.trials if is_judged(trial) and isinstance(trial.score, int | float)]


def _quality(rows: Sequence[TrialResult], bootstrap: Bootstrap | None) -> TrialQuality | None:
    scores = [score for row in rows for score in _scores(row)]
    if not scores:
        return None
    return TrialQuality(
        avg_score=mean(scores),
        median_score=percentile(scores, 0.5),
        p25_score=percentile(scores, 0.25),
        p75_score=percentile(scores, 0.75),
        confidence_intervals={"avgScore": _interval(rows, _scores, bootstrap)} if bootstrap else UNSET,
    )


def _interval(rows: Sequence[TrialResult], values: Callable[[TrialResult], list[float]], bootstrap: Bootstrap) -> Any:
    told = [values(row) for row in rows]
    return bootstrap.ratio([sum(each) for each in told], [len(each) for each in told])


def _durations(row: TrialResult) -> list[float]:
    return [trial.duration for trial in row.trials if trial.duration is not None]


def _performance(rows: Sequence[TrialResult], bootstrap: Bootstrap | None) -> Performance:
    durations = [duration for row in rows for duration in _durations(row)]
    return Performance(
        latency=spread_of(durations),
        total_duration=sum(durations) if durations else None,
        confidence_intervals={"latencyMean": _interval(rows, _durations, bootstrap)} if bootstrap else UNSET,
    )


def _estimates(rows: Sequence[TrialResult], bootstrap: Bootstrap | None) -> RunEstimates:
    told = [estimates(row.trials) for row in rows]
    excluded: Counter[str] = Counter()
    for each in told:
        excluded.update(each.excluded)
    rates = [each.pass_rate for each in told if each.pass_rate is not None]
    ks = [str(k) for k in range(1, max((row.k for row in rows), default=0) + 1)]
    return RunEstimates(
        tasks=len(rates),
        judged=sum(each.judged for each in told),
        passed=sum(each.passed for each in told),
        excluded=dict(sorted(excluded.items())),
        pass_rate=mean(rates),
        pass_at={k: mean([v for each in told if (v := each.pass_at.get(k)) is not None]) for k in ks},
        pass_pow={k: mean([v for each in told if (v := each.pass_pow.get(k)) is not None]) for k in ks},
        flakiness=mean([each.flakiness for each in told if each.flakiness is not None]),
        confidence_intervals={"passRate": bootstrap.mean(rates)} if bootstrap else UNSET,
    )


def _prompt(setup: Setup, task: str, capable: Standing, reliable: Standing, overall: Standing) -> TrialPrompt:
    return TrialPrompt(
        id=task,
        capability_winner=capable.winner,
        reliability_winner=reliable.winner,
        pass_at_k=_each(setup, task, _at_k),
        pass_exp_k=_each(setup, task, _exp_k),
        flakiness=_each(setup, task, _gap),
        reasoning=overall.reasoning or UNSET,
    )
