"""What traces come to, as plain figures: overall, for each dataset, agent and model, for each tool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from types import MappingProxyType
from typing import Literal, TypeVar

from pytest_agentcap.analysis.estimators import wilson_interval
from pytest_agentcap.tracestats.figures import Distribution, TimeShare, distribution, retry_chains, time_share
from pytest_agentcap.tracestats.model import Trace, TracedCall, TracedStep

_K = TypeVar("_K")
_V = TypeVar("_V")
Unit = Literal["s", "bytes", "tokens"]


@dataclass(frozen=True, slots=True)
class Metric:
    """Name a figure of tool calls or steps, and its unit."""

    title: str
    unit: Unit


CALL_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "duration_s": Metric("duration", "s"),
        "cpu_s": Metric("CPU time", "s"),
        "peak_rss_bytes": Metric("peak RSS", "bytes"),
        "storage_read_bytes": Metric("read from storage", "bytes"),
        "storage_write_bytes": Metric("written to storage", "bytes"),
        "syscall_read_bytes": Metric("read by system calls", "bytes"),
        "syscall_write_bytes": Metric("written by system calls", "bytes"),
    }
)
STEP_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "duration_s": Metric("duration", "s"),
        "first_token_s": Metric("time to the first token", "s"),
        "input_tokens": Metric("input", "tokens"),
        "output_tokens": Metric("output", "tokens"),
    }
)


@dataclass(frozen=True, slots=True)
class Group:
    """Hold the figures of some sessions. `success_rate` is passed over judged; the interval is Wilson's, 95 %.

    Sums of tokens leave out steps that do not know them; `steps_without_tokens` counts these. `time` adds up the
    `timed_sessions` whose time can be split.
    """

    dataset: str | None
    agent: str | None
    model: str | None
    sessions: int
    judged: int
    passed: int
    success_rate: float | None
    success_interval: tuple[float, float] | None
    verdicts: dict[str, int]
    steps: int
    failed_steps: int
    retried_steps: int
    calls: int
    failed_calls: int
    unknown_calls: int
    input_tokens: int | None
    output_tokens: int | None
    steps_without_tokens: int
    session_s: Distribution
    call_s: Distribution
    call_cpu_s: Distribution
    call_peak_rss_bytes: Distribution
    timed_sessions: int
    time: TimeShare | None


@dataclass(frozen=True, slots=True)
class Tool:
    """Hold the calls of one tool; `exit_codes` by the code as text, `unknown` where there is none."""

    tool: str
    calls: int
    failed: int
    exit_codes: dict[str, int]
    figures: dict[str, Distribution]


@dataclass(frozen=True, slots=True)
class Retries:
    """Hold the chains of a tool: how many, how many calls the longest has, how many ended well."""

    tool: str
    chains: int
    calls: int
    longest: int
    recovered: int


@dataclass(frozen=True, slots=True)
class Call:
    """Name one tool call among the slowest or the hungriest."""

    trace_id: str
    task: str | None
    tool: str
    command: str
    duration_s: float | None
    cpu_s: float | None
    peak_rss_bytes: int | None
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """Hold all that `agentcap analyze` tells; `measured` counts tool calls by source and quality of their figures."""

    places: dict[str, int]
    total: Group
    groups: list[Group]
    steps: dict[str, Distribution]
    tools: list[Tool]
    retries: list[Retries]
    measured: dict[str, int]
    timing: dict[str, int]
    high_water_sessions: int
    slowest: list[Call]
    hungriest_cpu: list[Call]
    hungriest_memory: list[Call]


def analyze(traces: Sequence[Trace], *, top: int = 10) -> Analysis:
    """Count and compare traces; `top` is how many of the slowest and the hungriest calls are named."""
    calls = [call for trace in traces for call in trace.calls]
    steps = [step for trace in traces for step in trace.steps]
    grouped = _by(traces, lambda trace: (trace.dataset, trace.agent, trace.model))
    # A high-water mark says which call came after the hungriest one, not which that was.
    own_memory = [trace for trace in traces if not trace.high_water]
    return Analysis(
        places=dict(Counter(trace.place for trace in traces)),
        total=_group((None, None, None), traces),
        groups=[_group(key, members) for key, members in sorted(grouped.items(), key=lambda each: _sortable(each[0]))],
        steps={name: distribution(_values(steps, name)) for name in STEP_METRICS},
        tools=[_tool(name, members) for name, members in _largest_first(_by(calls, lambda call: call.tool))],
        retries=_retries(traces),
        measured=_counted(f"{call.source or 'not told'}, {call.quality or 'not told'}" for call in calls),
        timing=_counted(call.timing or "not told" for call in calls),
        high_water_sessions=len(traces) - len(own_memory),
        slowest=_top(traces, lambda call: call.duration_s, top),
        hungriest_cpu=_top(traces, lambda call: call.cpu_s, top),
        hungriest_memory=_top(own_memory, lambda call: call.peak_rss_bytes, top),
    )


def _group(key: tuple[str | None, str | None, str | None], traces: Sequence[Trace]) -> Group:
    steps = [step for trace in traces for step in trace.steps]
    calls = [call for trace in traces for call in trace.calls]
    verdicts = Counter(trace.verdict or "not told" for trace in traces)
    passed, judged = verdicts["passed"], verdicts["passed"] + verdicts["failed"]
    shares = [share for trace in traces if (share := time_share(trace))]
    return Group(
        *key,
        sessions=len(traces),
        judged=judged,
        passed=passed,
        success_rate=passed / judged if judged else None,
        success_interval=wilson_interval(judged, passed),
        verdicts=dict(sorted((name, count) for name, count in verdicts.items() if count)),
        steps=len(steps),
        failed_steps=sum(step.failed is True for step in steps),
        retried_steps=sum(step.relation == "retries" for step in steps),
        calls=len(calls),
        failed_calls=sum(call.failed is True for call in calls),
        unknown_calls=sum(call.failed is None for call in calls),
        input_tokens=_sum(step.input_tokens for step in steps),
        output_tokens=_sum(step.output_tokens for step in steps),
        steps_without_tokens=sum(step.input_tokens is None or step.output_tokens is None for step in steps),
        session_s=distribution(trace.total_s for trace in traces),
        call_s=distribution(call.duration_s for call in calls),
        call_cpu_s=distribution(call.cpu_s for call in calls),
        call_peak_rss_bytes=distribution(call.peak_rss_bytes for call in calls),
        timed_sessions=len(shares),
        time=_added(shares),
    )


def _added(shares: Sequence[TimeShare]) -> TimeShare | None:
    if not shares:
        return None
    return TimeShare(sum(s.model_s for s in shares), sum(s.tool_s for s in shares), sum(s.idle_s for s in shares))


def _tool(name: str, calls: Sequence[TracedCall]) -> Tool:
    codes = ("unknown" if call.exit_code is None else str(call.exit_code) for call in calls)
    figures = {metric: distribution(_values(calls, metric)) for metric in CALL_METRICS}
    return Tool(name, len(calls), sum(call.failed is True for call in calls), _counted(codes), figures)


def _retries(traces: Iterable[Trace]) -> list[Retries]:
    chains = [chain for trace in traces for chain in retry_chains(trace)]
    return [
        Retries(
            tool,
            len(found),
            sum(chain.calls for chain in found),
            max(chain.calls for chain in found),
            sum(chain.recovered for chain in found),
        )
        for tool, found in _largest_first(_by(chains, lambda chain: chain.tool))
    ]


def _top(traces: Iterable[Trace], value: Callable[[TracedCall], float | None], top: int) -> list[Call]:
    known = [(v, trace, call) for trace in traces for call in trace.calls if (v := value(call)) is not None]
    return [
        Call(
            trace.trace_id,
            trace.task,
            call.tool,
            call.command,
            call.duration_s,
            call.cpu_s,
            None if trace.high_water else call.peak_rss_bytes,
            call.exit_code,
        )
        for _, trace, call in nlargest(top, known, key=lambda each: each[0])
    ]


def _values(items: Iterable[TracedCall] | Iterable[TracedStep], name: str) -> list[float | None]:
    return [getattr(item, name) for item in items]


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _by(items: Iterable[_V], key: Callable[[_V], _K]) -> dict[_K, list[_V]]:
    groups: dict[_K, list[_V]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _largest_first(groups: Mapping[str, list[_V]]) -> list[tuple[str, list[_V]]]:
    return sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))


def _sortable(key: tuple[str | None, ...]) -> tuple[str, ...]:
    return tuple(part or "" for part in key)
