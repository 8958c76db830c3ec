"""The comparison of runs of single sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from msgspec import UNSET

from pytest_agentcap.analysis.comparison import Figures, Setup, count_pairs, paired_tests, standings, unlike
from pytest_agentcap.analysis.statistics import Bootstrap, mean, percentile
from pytest_agentcap.analysis.strategies import Standing, score_of_row
from pytest_agentcap.formats.comparison_rows import (
    CaptureComparison,
    HeadToHead,
    Meta,
    Performance,
    PromptOutcome,
    Quality,
    Reliability,
    Spread,
    TrajectoryInfo,
)
from pytest_agentcap.formats.eval_rows import CaptureResult, GraderResult, Richness
from pytest_agentcap.formats.trajectory import richness_of

_BINS = ("0.0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1.0")


def compare_captures(setup: Setup, now: datetime) -> tuple[CaptureComparison, list[str]]:
    """Compare runs of CaptureResult rows; return the report, and what went wrong with tasks, one line each."""
    ranked = standings(setup)
    counted = {run: setup.counted(run) for run in setup.labels}
    warnings = [*unlike(setup), *_ungraded(counted)]
    bootstrap = setup.bootstrap
    report = CaptureComparison(
        meta=Meta(
            generated_at=stamp(now),
            runs=setup.labels,
            prompt_count=len(setup.union),
            prompts_with_all_runs=len(setup.common),
            warnings=warnings or UNSET,
        ),
        quality={run: _quality(rows, bootstrap) for run, rows in counted.items()},
        performance={run: _performance(rows, bootstrap) for run, rows in counted.items()},
        reliability={run: _reliability(rows) for run, rows in counted.items()},
        trajectory_info={run: _trajectories(rows) for run, rows in counted.items()},
        head_to_head=HeadToHead(
            prompts=[_outcome(setup, task, standing) for task, standing in ranked.items()],
            pairwise=count_pairs(setup, {task: standing.ranks for task, standing in ranked.items()}),
        ),
        paired=UNSET if bootstrap is None else paired_tests(setup, _figures(setup)),
    )
    return report, [f"{task}: {standing.problem}" for task, standing in ranked.items() if standing.problem]


def stamp(now: datetime) -> str:
    """Write a time as agent-eval-harness does: UTC, with milliseconds."""
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _figures(setup: Setup) -> list[Figures]:
    return [
        Figures("score", {run: {t: score_of_row(row) for t, row in rows.items()} for run, rows in setup.runs.items()}),
        Figures("pass", {run: {t: _passed(row) for t, row in rows.items()} for run, rows in setup.runs.items()}),
    ]


def _passed(row: CaptureResult) -> float | None:
    return None if score_of_row(row) is None or not isinstance(row.score, GraderResult) else float(row.score.passed)


def _ungraded(counted: dict[str, list[CaptureResult]]) -> Iterable[str]:
    for run, rows in counted.items():
        missing = sum(score_of_row(row) is None for row in rows)
        if missing:
            yield f"{run}: {missing} of {len(rows)} sessions have no score, and count neither as passed nor as failed"


def _quality(rows: Sequence[CaptureResult], bootstrap: Bootstrap | None) -> Quality:
    graded = [row for row in rows if score_of_row(row) is not None]
    scores = [score for row in graded if (score := score_of_row(row)) is not None]
    passes = [passed for row in graded if (passed := _passed(row)) is not None]
    spread = dict.fromkeys(_BINS, 0)
    for score in scores:
        spread[_BINS[min(int(score * 5), 4)]] += 1
    intervals: Any = UNSET
    if bootstrap:
        intervals = {"avgScore": bootstrap.mean(scores), "passRate": bootstrap.mean(passes)}
    return Quality(
        avg_score=mean(scores),
        pass_rate=mean(passes),
        pass_count=int(sum(passes)),
        fail_count=len(passes) - int(sum(passes)),
        score_distribution=spread,
        ungraded=len(rows) - len(graded) or UNSET,
        confidence_intervals=intervals,
    )


def spread_of(values: Sequence[float]) -> Spread:
    """Return percentiles, mean and ends of durations."""
    p50, p90, p99 = (percentile(values, share) for share in (0.5, 0.9, 0.99))
    return Spread(p50, p90, p99, mean(values), min(values, default=None), max(values, default=None))


def _performance(rows: Sequence[CaptureResult], bootstrap: Bootstrap | None) -> Performance:
    totals = [row.timing.total for row in rows if row.timing.total is not None]
    firsts = [row.timing.first_response for row in rows if isinstance(row.timing.first_response, int | float)]
    return Performance(
        latency=spread_of(totals),
        first_response=spread_of(firsts) if firsts else UNSET,
        total_duration=sum(totals) if totals else None,
        confidence_intervals={"latencyMean": bootstrap.mean(totals)} if bootstrap else UNSET,
    )


def _reliability(rows: Sequence[CaptureResult]) -> Reliability:
    ran = [row for row in rows if row.verdict != "infra"]
    errors, timeouts = sum(row.tool_errors for row in ran), sum(_timed_out(row) for row in ran)
    complete = sum(bool(row.output) and not _errors(row) for row in ran)
    n = len(ran)
    return Reliability(
        tool_errors=errors,
        tool_error_rate=errors / n if n else None,
        timeouts=timeouts,
        timeout_rate=timeouts / n if n else None,
        completion_rate=complete / n if n else None,
        infra=len(rows) - n or UNSET,
    )


def _errors(row: CaptureResult) -> list[str]:
    return row.errors if isinstance(row.errors, list) else []


def _timed_out(row: CaptureResult) -> bool:
    return row.metadata.get("timedOut") is True or any("timeout" in error.lower() for error in _errors(row))


def _trajectories(rows: Sequence[CaptureResult]) -> TrajectoryInfo:
    told = (row.metadata.get("trajectoryRichness") for row in rows)
    richness = next((each for each in told if each in get_args(Richness)), None)
    if richness is None:
        richness = richness_of([step for row in rows for step in row.trajectory])
    return TrajectoryInfo(richness, mean([len(row.trajectory) for row in rows]))


def _outcome(setup: Setup, task: str, standing: Standing) -> PromptOutcome:
    rows = setup.task(task)
    return PromptOutcome(
        id=task,
        winner=standing.winner,
        scores=dict(standing.scores),
        latencies={run: row.timing.total for run, row in rows.items()},
        had_errors={run: row.tool_errors for run, row in rows.items()},
        reasoning=standing.reasoning or UNSET,
    )
