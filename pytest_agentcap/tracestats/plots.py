"""The figures of `agentcap plot`: each is drawn from what is known, or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pytest_agentcap.runs.names import safe_name
from pytest_agentcap.tracestats.canvas import DASHES, GREYS, HATCHES, MARKERS, Plot, label, save, series, source_of
from pytest_agentcap.tracestats.figures import TimeShare, time_share
from pytest_agentcap.tracestats.model import Trace, TracedCall

_V = TypeVar("_V")
OTHER, OTHER_MODELS = "other tools", "other models"
_NAMED = 6
_MIB = 1 << 20
# Below a hundredth of a millisecond no source counts.
_LEAST_S = 1e-5


@dataclass(slots=True)
class Drawn:
    """Tell which files were written, and of which figures nothing is known."""

    files: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def draw_all(traces: Sequence[Trace], folder: Path, *, timelines: int = 5) -> Drawn:
    """Draw every figure into a folder, and the timelines of the longest sessions.

    A figure of which no value is known is left out and named. Raises PlotsError without matplotlib.
    """
    drawn = Drawn()
    source = source_of(traces)
    for name, plan in PLANS.items():
        plot = plan(traces)
        if plot is None:
            drawn.left_out.append(name)
        else:
            drawn.files += save(plot, source, folder)
    for number, trace in enumerate(_longest(traces, timelines), 1):
        drawn.files += save(timeline(trace, number), source_of([trace]), folder)
    return drawn


def tool_durations(traces: Sequence[Trace]) -> Plot | None:
    """Plan the share of tool calls that took at most so long, for each tool."""
    known = {tool: [c.duration_s for c in calls if c.duration_s is not None] for tool, calls in _by_tool(traces)}
    known = {tool: sorted(values) for tool, values in known.items() if values}
    if not known:
        return None

    def draw(axes: Any) -> None:
        for tool, at in series(list(known)):
            values = [max(value, _LEAST_S) for value in known[tool]]
            shares = [(place + 1) / len(values) for place in range(len(values))]
            name = f"{label(tool)} (n = {len(values):,})"
            axes.step([values[0], *values], [0, *shares], where="post", color=GREYS[at], ls=DASHES[at], label=name)
        axes.set(xscale="log", xlabel="duration (s)", ylabel="share of tool calls", ylim=(0, 1.02))
        axes.legend(frameon=False, fontsize=8)

    return Plot("tool_durations", "How long tool calls take", draw, _n(sum(map(len, known.values())), "tool calls"))


def cpu_and_wall(traces: Sequence[Trace]) -> Plot | None:
    """Plan each tool call's CPU time over its duration."""
    known = {
        tool: [(c.duration_s, c.cpu_s) for c in calls if c.duration_s is not None and c.cpu_s is not None]
        for tool, calls in _by_tool(traces)
    }
    known = {tool: values for tool, values in known.items() if values}
    if not known:
        return None
    highest = max(max(wall, cpu) for values in known.values() for wall, cpu in values)

    def draw(axes: Any) -> None:
        for tool, at in series(list(known)):
            walls, cpus = zip(*known[tool], strict=True)
            name = f"{label(tool)} (n = {len(walls):,})"
            axes.scatter(walls, cpus, s=18, color=GREYS[at], marker=MARKERS[at], label=name, linewidths=0.8)
        axes.plot([0, highest], [0, highest], color="0.5", lw=0.8, label="one CPU all the time")
        axes.set_xscale("symlog", linthresh=1e-3)
        axes.set_yscale("symlog", linthresh=1e-3)
        axes.set(xlabel="duration (s)", ylabel="CPU time, user and system (s)", xlim=(0, None), ylim=(0, None))
        axes.legend(frameon=False, fontsize=8)

    return Plot("cpu_and_wall", "CPU time of tool calls", draw, _n(sum(map(len, known.values())), "tool calls"))


def peak_memory(traces: Sequence[Trace]) -> Plot | None:
    """Plan how many tool calls had which peak RSS; high-water marks stand apart."""
    groups = {
        "of the call": [t for t in traces if not t.high_water],
        "highest so far (AgentTrace)": [t for t in traces if t.high_water],
    }
    known = {
        name: [c.peak_rss_bytes / _MIB for t in members for c in t.calls if c.peak_rss_bytes]
        for name, members in groups.items()
    }
    known = {name: values for name, values in known.items() if values}
    if not known:
        return None
    everything = [value for values in known.values() for value in values]
    low, high = math.floor(math.log2(min(everything)) * 2), math.ceil(math.log2(max(everything)) * 2)
    edges = [2 ** (step / 2) for step in range(low, max(high, low + 1) + 1)]

    def draw(axes: Any) -> None:
        for name, at in series(list(known)):
            told = f"{name} (n = {len(known[name]):,})"
            axes.hist(known[name], edges, color="0.85", edgecolor=GREYS[at], hatch=HATCHES[at], alpha=0.8, label=told)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="peak RSS of one process (MiB)", ylabel="tool calls")
        axes.legend(frameon=False, fontsize=8)

    return Plot("peak_memory", "Memory of tool calls", draw, _n(len(everything), "tool calls"))


def time_shares(traces: Sequence[Trace]) -> Plot | None:
    """Plan the shares of the model, the tools and neither, for each dataset, agent and model."""
    groups: dict[tuple[str, ...], list[TimeShare]] = {}
    for trace in traces:
        share = time_share(trace)
        if share and share.total_s:
            key = tuple(name for name in (trace.dataset, trace.agent, trace.model) if name)
            groups.setdefault(key, []).append(share)
    if not groups:
        return None
    parts = {"model": "model_s", "tools": "tool_s", "idle": "idle_s"}

    def draw(axes: Any) -> None:
        names = [f"{label(' · '.join(key) or None)}\n(n = {len(found):,})" for key, found in groups.items()]
        totals = [sum(share.total_s for share in found) for found in groups.values()]
        left = [0.0] * len(groups)
        for (part, at), grey in zip(series(list(parts)), ("0.25", "0.65", "1.0"), strict=True):
            sums = [sum(getattr(share, parts[part]) for share in found) for found in groups.values()]
            widths = [100 * value / total for value, total in zip(sums, totals, strict=True)]
            axes.barh(names, widths, left=left, color=grey, edgecolor="0.0", hatch=HATCHES[at], label=part)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set(xlabel="share of the sessions' time (%)", xlim=(0, 100))
        axes.invert_yaxis()
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, -0.35))

    counted = _n(sum(map(len, groups.values())), "sessions")
    return Plot("time_shares", "Where the time goes", draw, counted, rows=len(groups))


def tool_mix(traces: Sequence[Trace]) -> Plot | None:
    """Plan how often each tool was called, and how often it failed."""
    groups = _by_tool(traces)
    if not groups:
        return None

    def draw(axes: Any) -> None:
        names = [label(tool) for tool, _ in groups]
        failed = [sum(call.failed is True for call in calls) for _, calls in groups]
        unknown = [sum(call.failed is None for call in calls) for _, calls in groups]
        passed = [len(calls) - f - u for (_, calls), f, u in zip(groups, failed, unknown, strict=True)]
        left = [0] * len(groups)
        for kind, counts, grey, hatch in (
            ("succeeded", passed, "0.75", ""),
            ("failed", failed, "0.35", "///"),
            ("not known", unknown, "1.0", "..."),
        ):
            if any(counts):
                axes.barh(names, counts, left=left, color=grey, edgecolor="0.0", hatch=hatch, label=kind)
                left = [start + count for start, count in zip(left, counts, strict=True)]
        axes.set(xlabel="tool calls")
        axes.invert_yaxis()
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, -0.35))

    return Plot("tool_mix", "Which tools are called", draw, _n(sum(len(c) for _, c in groups), "tool calls"))


def tokens_and_steps(traces: Sequence[Trace]) -> Plot | None:
    """Plan each session's tokens over its model steps, the turns of the agent's loop."""
    points: dict[str, list[tuple[int, int, int]]] = {}
    for trace in traces:
        inputs, outputs = ([getattr(s, name) for s in trace.steps] for name in ("input_tokens", "output_tokens"))
        if trace.steps and None not in inputs and None not in outputs:
            points.setdefault(trace.model or "not told", []).append((len(trace.steps), sum(inputs), sum(outputs)))
    if not points:
        return None
    points = dict(_most_used(points, OTHER_MODELS))

    def draw(axes: Any) -> None:
        for model, at in series(list(points)):
            steps, inputs, outputs = zip(*points[model], strict=True)
            drawn = {"marker": MARKERS[at], "s": 22, "linewidths": 0.8}
            name = f"{label(model)} (n = {len(steps):,})"
            axes.scatter(steps, inputs, color="0.0", label=f"input, {name}", **drawn)
            axes.scatter(steps, outputs, color="0.6", label=f"output, {name}", **drawn)
        axes.set(xlabel="turns of the agent's loop (model steps of a session)", ylabel="tokens of a session")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize=8)

    return Plot("tokens_and_turns", "Tokens over turns", draw, _n(sum(map(len, points.values())), "sessions"))


def timeline(trace: Trace, number: int) -> Plot:
    """Plan when the model and each tool worked in a session."""
    steps = [(s.start_ns, s.end_ns) for s in trace.steps if s.start_ns is not None and s.end_ns is not None]
    calls = [(c.tool, c.start_ns, c.end_ns) for c in trace.calls if c.start_ns is not None and c.end_ns is not None]
    begin = min(start for start, _ in steps)
    lanes = {"model": steps}
    for tool, start, end in calls:
        lanes.setdefault(f"tool {tool}", []).append((start, end))

    def draw(axes: Any) -> None:
        for place, (name, spans) in enumerate(lanes.items()):
            bars = [((start - begin) / 1e9, (end - start) / 1e9) for start, end in spans]
            model = name == "model"
            axes.broken_barh(
                bars, (place - 0.35, 0.7), facecolor="0.2" if model else "0.75", edgecolor="0.0",
                lw=0.6, hatch="" if model else "///",
            )  # fmt: skip
        axes.set_yticks(range(len(lanes)), [f"{label(name)} (n = {len(spans)})" for name, spans in lanes.items()])
        axes.set(xlabel="time since the first request (s)", xlim=(0, None))
        axes.invert_yaxis()

    name = f"timeline_{number:02}_{safe_name(trace.task or trace.trace_id)}"
    counted = f"{_n(len(steps), 'model steps')}, {_n(len(calls), 'tool calls')}"
    return Plot(name, f"One session: {label(trace.task or trace.trace_id)}", draw, counted, rows=len(lanes))


PLANS: Mapping[str, Callable[[Sequence[Trace]], Plot | None]] = {
    "tool_durations": tool_durations,
    "cpu_and_wall": cpu_and_wall,
    "peak_memory": peak_memory,
    "time_shares": time_shares,
    "tool_mix": tool_mix,
    "tokens_and_turns": tokens_and_steps,
}


def _longest(traces: Iterable[Trace], most: int) -> list[Trace]:
    timed = [t for t in traces if t.one_clock and any(s.start_ns and s.end_ns for s in t.steps)]
    return sorted(timed, key=lambda trace: -(trace.total_s or 0))[:most]


def _by_tool(traces: Iterable[Trace]) -> list[tuple[str, list[TracedCall]]]:
    """Group calls by tool, the most used first; what is used least is one group."""
    groups: dict[str, list[TracedCall]] = {}
    for trace in traces:
        for call in trace.calls:
            groups.setdefault(call.tool, []).append(call)
    return _most_used(groups, OTHER)


def _most_used(groups: Mapping[str, list[_V]], other: str) -> list[tuple[str, list[_V]]]:
    ordered = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    rest = [item for _, items in ordered[_NAMED:] for item in items]
    return [*ordered[:_NAMED], *([(other, rest)] if rest else [])]


def _n(count: int, what: str) -> str:
    return f"n = {count:,} {what}"
