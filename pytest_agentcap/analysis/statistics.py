"""Statistics over tasks: the task is the unit that is drawn, since trials of one task are alike.

Every random draw comes from a seed that the caller gives. What needs scipy says so in one line when it is not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CONFIDENCE = 0.95
_EXACT_UP_TO = 16
_RESAMPLES = 9999
# How many values are held at once; below it, all resamples are.
_HELD = 2_000_000


class StatisticsError(ValueError):
    """Say which part of the installation statistics need."""


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return sum(values) / len(values) if values else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that stands at `share` of the sorted values, without interpolation; None of nothing."""
    ordered = sorted(values)
    return ordered[min(math.floor(len(ordered) * share), len(ordered) - 1)] if ordered else None


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Draw tasks with replacement, `iterations` times from `seed`: percentile intervals of 95 %."""

    seed: int = 0
    iterations: int = 1000

    def mean(self, values: Sequence[float]) -> tuple[float, float] | None:
        """Return the interval of a mean over tasks; None below two tasks."""
        return self.ratio(values, [1] * len(values))

    def ratio(self, sums: Sequence[float], counts: Sequence[int]) -> tuple[float, float] | None:
        """Return the interval of a mean over trials, of which each task has a sum and a count; None below two tasks."""
        kept = [(total, count) for total, count in zip(sums, counts, strict=True) if count]
        if len(kept) < 2:
            return None
        numpy, stats = _scipy()
        result = stats.bootstrap(
            tuple(numpy.array(column, dtype=float) for column in zip(*kept, strict=True)),
            lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=self.iterations,
            batch=_batch(len(kept)),
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=numpy.random.default_rng(self.seed),
        )
        return float(result.confidence_interval.low), float(result.confidence_interval.high)


def permutation_p_value(differences: Sequence[float], seed: int) -> float | None:
    """Return the two-sided p of a paired permutation test of the mean difference; None of nothing.

    Signs are flipped in all ways up to 16 differences that are not 0, else in 9999 random ones. With differences of
    passes this is McNemar's exact test.
    """
    if not differences:
        return None
    flipped = [difference for difference in differences if difference]
    if len(flipped) < 2:
        return 1.0
    numpy, stats = _scipy()
    values = numpy.array(flipped)
    result = stats.permutation_test(
        (values, numpy.zeros(len(values))),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=math.inf if len(flipped) <= _EXACT_UP_TO else _RESAMPLES,
        batch=_batch(len(flipped)),
        rng=numpy.random.default_rng(seed),
    )
    return float(result.pvalue)


def cohens_d(differences: Sequence[float]) -> float | None:
    """Return the mean of paired differences by their standard deviation (n - 1); None when they do not vary."""
    if len(differences) < 2:
        return None
    middle = sum(differences) / len(differences)
    variance = sum((value - middle) ** 2 for value in differences) / (len(differences) - 1)
    # Differences that are equal but for the last bit do not vary.
    return None if variance <= 1e-24 else middle / math.sqrt(variance)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for how many there are, source: Holm 1979; None stays None."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[place] = highest
    return adjusted


def _batch(size: int) -> int:
    """Return how many resamples of so many values are made at once: all of them would take gigabytes."""
    return max(1, _HELD // size)


def _scipy() -> tuple[Any, Any]:
    try:
        import numpy
        from scipy import stats
    except ImportError as error:
        raise StatisticsError(f"statistics need scipy ({error}): pip install 'pytest-agentcap[stats]'") from None
    return numpy, stats
