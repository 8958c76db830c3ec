"""What trials of one task tell of its success rate: closed forms, without a random number.

`n` trials were judged, `c` of them passed. pass@k is the probability that at least one of k trials passes, pass^k that
all of them do. Sources: Chen et al. 2021 (arXiv:2107.03374) for pass@k, Yao et al. 2024 (arXiv:2406.12045) for pass^k,
Wilson 1927 for the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt
from statistics import NormalDist


def pass_at_k(n: int, c: int, k: int) -> float | None:
    """Return the unbiased estimate 1 - C(n-c, k)/C(n, k); None when there are fewer than k trials."""
    _check(n, c, k)
    return None if n < k else 1 - comb(n - c, k) / comb(n, k)


def pass_pow_k(n: int, c: int, k: int) -> float | None:
    """Return the unbiased estimate of pass^k, C(c, k)/C(n, k); None when there are fewer than k trials."""
    _check(n, c, k)
    return None if n < k else comb(c, k) / comb(n, k)


def plug_in_pass_at_k(n: int, c: int, k: int) -> float | None:
    """Return agent-eval-harness's `passAtK`, 1 - (1 - c/n)^k, which is too high for few trials; None without any."""
    _check(n, c, k)
    return None if n == 0 else 1 - (1 - c / n) ** k if 0 < c < n else float(c > 0)


def plug_in_pass_pow_k(n: int, c: int, k: int) -> float | None:
    """Return agent-eval-harness's `passExpK`, (c/n)^k; None without any trial."""
    _check(n, c, k)
    return None if n == 0 else (c / n) ** k


def flakiness(n: int, c: int) -> float | None:
    """Return the share of pairs of trials that ended differently, 2c(n-c)/(n(n-1)); None below two trials.

    It is the unbiased estimate of 2p(1-p), and does not grow with the number of trials.
    """
    _check(n, c, 1)
    return None if n < 2 else 2 * c * (n - c) / (n * (n - 1))


def wilson_interval(n: int, c: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return Wilson's score interval of a success rate; None without any trial."""
    _check(n, c, 1)
    return _wilson(c / n, n, confidence) if n else None


def clustered_interval(tasks: Sequence[tuple[int, int]], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return an interval of the rate over all trials of tasks with (n, c) each; None without any trial.

    Trials of a task are alike, so it is Wilson's with the number of independent trials that would vary as much: rate
    (1 - rate) by the variance of a ratio over tasks (Cochran 1977, 6.13; effective sample sizes: Korn & Graubard 1998),
    at most all trials. Where nothing varies, each task counts once. With one trial a task this is Wilson's interval.
    """
    known = [(n, c) for n, c in tasks if n]
    total, passed = sum(n for n, _ in known), sum(c for _, c in known)
    _check(total, passed, 1)
    if len(known) < 2:
        return wilson_interval(total, passed, confidence)
    rate = passed / total
    variance = sum((c - rate * n) ** 2 for n, c in known) / total**2
    effective = float(len(known)) if passed in (0, total) else float(total)
    if variance > 0:
        effective = min(total, rate * (1 - rate) / variance)
    return _wilson(rate, effective, confidence)


def _wilson(rate: float, n: float, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    spread = z * z / n
    middle = (rate + spread / 2) / (1 + spread)
    half = z * sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    # At the ends the formula is exact, the arithmetic is not.
    return (0.0 if rate == 0 else middle - half, 1.0 if rate == 1 else middle + half)


def _check(n: int, c: int, k: int) -> None:
    if not 0 <= c <= n or k < 1:
        raise ValueError(f"{c} of {n} trials, k = {k}: passed trials are 0 to all of them, k is 1 or more")
