"""Sessions summed up: for a repository or corpus, for a model, for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.analysis.estimators import wilson_interval
from pytest_agentcap.analysis.statistics import mean
from pytest_agentcap.report.outcomes import FAILED, PASSED, SessionOutcome

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """Hold what some sessions come to; a figure that none of them has is None.

    `success_rate` and its 95 % Wilson interval are over judged sessions alone, `score` is their mean, 0 to 100. The
    interval takes sessions as independent: trials of one task are not, and make it look narrower than it is. `apart`
    counts the verdicts that judge nobody. Sums leave out sessions that do not know the figure, which `unknown`
    counts where others do.
    """

    sessions: int
    tasks: int
    passed: int
    judged: int
    success_rate: float | None
    interval: tuple[float, float] | None
    score: float | None
    calls: int | None
    commands: int | None
    tokens: int | None
    cost_usd: float | None
    duration_s: float | None
    safety_events: int | None
    safety_kinds: dict[str, int]
    failures: dict[str, int]
    apart: dict[str, int]
    unknown: dict[str, int]


def summarize(outcomes: Sequence[SessionOutcome]) -> Summary:
    """Sum up sessions, at least none."""
    judged = [each for each in outcomes if each.passed is not None]
    passed = sum(each.verdict == PASSED for each in judged)
    watched = [each.safety for each in outcomes if each.safety is not None]
    figures: dict[str, Callable[[SessionOutcome], Any]] = {
        "calls": lambda each: each.calls,
        "commands": lambda each: each.commands,
        "tokens": lambda each: each.tokens,
        "cost_usd": lambda each: each.cost_usd,
        "duration_s": lambda each: each.duration_s,
    }
    known = {name: [value for each in outcomes if (value := of(each)) is not None] for name, of in figures.items()}
    sums: dict[str, Any] = {name: sum(values) if values else None for name, values in known.items()}
    return Summary(
        sessions=len(outcomes),
        tasks=len({(each.group, each.task) for each in outcomes}),
        passed=passed,
        judged=len(judged),
        success_rate=passed / len(judged) if judged else None,
        interval=wilson_interval(len(judged), passed, CONFIDENCE),
        score=mean([each.score for each in judged if each.score is not None]),
        safety_events=sum(map(len, watched)) if watched else None,
        safety_kinds=_counts(str(event.get("kind")) for events in watched for event in events),
        failures=_counts(each.failure for each in judged if each.verdict == FAILED and each.failure),
        apart=_counts(each.verdict for each in outcomes if each.passed is None),
        unknown={
            name: len(outcomes) - len(values) for name, values in known.items() if 0 < len(values) < len(outcomes)
        },
        **sums,
    )


def by(outcomes: Iterable[SessionOutcome], of: Callable[[SessionOutcome], str]) -> dict[str, list[SessionOutcome]]:
    """Group sessions, in the order in which their groups are first met."""
    groups: dict[str, list[SessionOutcome]] = {}
    for each in outcomes:
        groups.setdefault(of(each), []).append(each)
    return groups


def contender(outcome: SessionOutcome) -> str:
    """Name what a leaderboard ranks."""
    return f"{outcome.agent} · {outcome.model}"


def leaderboard(outcomes: Iterable[SessionOutcome]) -> list[tuple[str, Summary]]:
    """Rank agents with their models by success rate, then mean score; those that nobody judged come last."""
    rows = [(name, summarize(group)) for name, group in by(outcomes, contender).items()]
    return sorted(rows, key=lambda row: (row[1].judged == 0, -(row[1].success_rate or 0), -(row[1].score or 0), row[0]))


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0])))
