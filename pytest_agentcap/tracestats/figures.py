"""Figures of traces: distributions, shares of time, chains of retries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_agentcap.tracestats.model import Trace, TracedCall


@dataclass(frozen=True, slots=True)
class Distribution:
    """Hold percentiles of `n` known values; `unknown` counts the others. Without a known value all are None."""

    n: int
    unknown: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None


def distribution(values: Iterable[float | None]) -> Distribution:
    """Sum up values; percentiles lie on the line between the two nearest values (type 7 of Hyndman & Fan 1996)."""
    all_ = list(values)
    known = sorted(value for value in all_ if value is not None)
    unknown = len(all_) - len(known)
    if not known:
        return Distribution(0, unknown)
    p50, p90, p99 = (percentile(known, share) for share in (0.5, 0.9, 0.99))
    return Distribution(len(known), unknown, sum(known) / len(known), p50, p90, p99, known[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of at least one ascending value."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True)
class TimeShare:
    """Hold how many seconds a session spent on the model, on tools, and on neither."""

    model_s: float
    tool_s: float
    idle_s: float

    @property
    def total_s(self) -> float:
        return self.model_s + self.tool_s + self.idle_s


def time_share(trace: Trace) -> TimeShare | None:
    """Split a session's time; None when its length, or that of one of its steps, is not known.

    On one clock the time in which any step ran is the model's, and what of the time of tool calls is left, the tools':
    nothing counts twice. AgentTrace's steps have no point in time: durations are added up. Tool calls without a known
    duration, as those without a result, count as idle. None too when the parts come to more than the whole.
    """
    if trace.total_s is None:
        return None
    if trace.one_clock:
        steps = [(s.start_ns, s.end_ns) for s in trace.steps if s.start_ns is not None and s.end_ns is not None]
        calls = [(c.start_ns, c.end_ns) for c in trace.calls if c.start_ns is not None and c.end_ns is not None]
        complete = len(steps) == len(trace.steps)
        model = _covered(steps)
        tools = _covered([*steps, *calls]) - model
    else:
        durations = [step.duration_s for step in trace.steps if step.duration_s is not None]
        complete = len(durations) == len(trace.steps)
        model = sum(durations)
        tools = sum(call.duration_s for call in trace.calls if call.duration_s is not None)
    idle = trace.total_s - model - tools
    # Two readings of a clock may differ by less than a millisecond.
    return TimeShare(model, tools, max(0.0, idle)) if complete and idle > -1e-3 else None


def _covered(spans: Iterable[tuple[int, int]]) -> float:
    """Return the seconds that at least one of the spans covers."""
    total, reached = 0, None
    for start, end in sorted(spans):
        begin = start if reached is None else max(start, reached)
        if end > begin:
            total += end - begin
        reached = end if reached is None else max(reached, end)
    return total / 1e9


@dataclass(frozen=True, slots=True)
class Chain:
    """Hold calls of one tool in a row, all of which but the last failed; `recovered` says that the last did not."""

    trace_id: str
    tool: str
    calls: int
    recovered: bool


def retry_chains(trace: Trace) -> list[Chain]:
    """Find the chains of two and more calls in each thread; a call of unknown outcome ends one, and is not recovery."""
    found: list[Chain] = []
    for _, thread in groupby(sorted(trace.calls, key=lambda call: call.thread), key=lambda call: call.thread):
        chain: list[TracedCall] = []
        for call in thread:
            if chain and not (chain[-1].failed and chain[-1].tool == call.tool):
                found.extend(_chain(trace, chain))
                chain = []
            chain.append(call)
        found.extend(_chain(trace, chain))
    return found


def _chain(trace: Trace, calls: Sequence[TracedCall]) -> list[Chain]:
    if len(calls) < 2:
        return []
    return [Chain(trace.trace_id, calls[0].tool, len(calls), calls[-1].failed is False)]
