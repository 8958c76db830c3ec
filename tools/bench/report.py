"""What the rounds say together: medians, ratios taken round by round, and the targets met or missed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# Contender, then number, then one value per round in which it could be taken.
Values = dict[str, dict[str, dict[int, float]]]
_RATES = ("c1", "c16", "c64", "200kb", "2mb")
_ROWS = {
    **{f"{name}.calls_per_s": f"{name}: calls/s" for name in _RATES},
    **{f"{name}.settled_calls_per_s": f"{name}: calls/s until all pairs exist" for name in _RATES},
    **{f"{name}.cpu_us": f"{name}: processor µs/call" for name in _RATES},
    **{f"{name}.settled_cpu_us": f"{name}: processor µs/call until all pairs exist" for name in _RATES},
    "c1.p50_ms": "c1: latency p50, ms",
    "c1.p99_ms": "c1: latency p99, ms",
    "ttfb.p50_ms": "time to first byte p50, ms",
    "ttfb.p99_ms": "time to first byte p99, ms",
    "sse.cpu_us": "16 streams: processor µs/event",
    "sse.worst_delay_ms": "16 streams: worst event delay, ms",
    "mixed.p99_delay_ms": "16 streams and 2 MB posts: event delay p99, ms",
    "mixed.worst_delay_ms": "16 streams and 2 MB posts: worst event delay, ms",
    "mixed.post_p50_ms": "16 streams and 2 MB posts: post p50, ms",
    "memory.before_mb": "resident memory at rest, MB",
    "memory.growth_mb": "resident memory, growth over 64 streams of 2 MB, MB",
}


@dataclass(slots=True)
class Results:
    """Collect numbers by contender and round."""

    values: Values = field(default_factory=dict)

    def add(self, contender: str, round_number: int, numbers: dict[str, float]) -> None:
        for number, value in numbers.items():
            self.values.setdefault(contender, {}).setdefault(number, {})[round_number] = value

    def median(self, contender: str, number: str) -> float | None:
        taken = self.values.get(contender, {}).get(number)
        return statistics.median(taken.values()) if taken else None

    def between(
        self, first: tuple[str, str], second: tuple[str, str], how: Callable[[float, float], float]
    ) -> float | None:
        """Return the median over the rounds that have both of `how(first, second)`; each is contender and number."""
        ours, theirs = (self.values.get(name, {}).get(number, {}) for name, number in (first, second))
        both = [how(ours[index], theirs[index]) for index in sorted(ours.keys() & theirs.keys())]
        return statistics.median(both) if both else None


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that must be reached: `value` as the client sees it, `settled` with the time until all pairs exist."""

    text: str
    limit: float
    at_least: bool
    unit: str
    value: float | None
    settled: float | None = None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        met = self.value >= self.limit if self.at_least else self.value <= self.limit
        return "met" if met else "missed"


def check_targets(results: Results, subject: str = "agentcap") -> list[Target]:
    """Compare one proxy with what it must reach."""

    def faster(text: str, number: str, other: str, limit: float) -> Target:
        views = [_ratio(results, subject, other, f"{number}.{view}calls_per_s") for view in ("", "settled_")]
        return Target(f"{text} vs {other}", limit, True, "×", *views)

    def slower(text: str, number: str, limit: float) -> Target:
        views = [_ratio(results, "nginx", subject, f"{number}.{view}calls_per_s") for view in ("", "settled_")]
        return Target(f"{text}: nginx is faster by", limit, False, "×", *views)

    def added(text: str, number: str) -> Target:
        return Target(text, 0.4, False, " ms", _difference(results, subject, "direct", number))

    climb = [
        results.between((subject, f"c64.{view}calls_per_s"), (subject, f"c1.{view}calls_per_s"), _divide)
        for view in ("", "settled_")
    ]
    stall = _ratio(results, subject, "agentcap-style", "mixed.worst_delay_ms")
    return [
        faster("calls/s, 64 connections", "c64", "agentcap-style", 12),
        faster("calls/s, 200 KB", "200kb", "agentcap-style", 10),
        faster("calls/s, 2 MB", "2mb", "agentcap-style", 5),
        Target("calls/s, 64 connections vs 1", 1.0, True, "×", *climb),
        faster("calls/s, 64 connections", "c64", "mitmproxy", 6),
        slower("calls/s, 64 connections", "c64", 12),
        slower("calls/s, 200 KB", "200kb", 6),
        slower("calls/s, 2 MB", "2mb", 4),
        added("added latency p50, 1 connection", "c1.p50_ms"),
        added("added time to first byte p50", "ttfb.p50_ms"),
        Target("worst event delay under 2 MB posts vs agentcap-style", 0.25, False, "×", stall),
        Target("memory growth, 64 streams of 2 MB", 40, False, " MB", results.median(subject, "memory.growth_mb")),
    ]


def render(results: Results, contenders: list[str], capturing: set[str], subject: str = "agentcap") -> str:
    """Lay out the medians, the ratios and the targets as text."""
    sections = ["medians", _table(_median_rows(results, contenders, capturing), contenders)]
    for other in ("agentcap-style", "mitmproxy", "nginx"):
        against = [name for name in contenders if name in capturing and name != other]
        if other in contenders and against:
            rows = _ratio_rows(results, against, other)
            sections += [f"times {other}'s (rates: more is better; everything else: less is better)"]
            sections += [_table(rows, against)]
    if subject in contenders:
        sections += [f"targets of {subject}", _target_lines(check_targets(results, subject))]
    return "\n\n".join(sections)


def _median_rows(results: Results, contenders: list[str], capturing: set[str]) -> Iterable[tuple[str, list[str]]]:
    for number, text in _ROWS.items():
        named = [None if ".settled" in number and name not in capturing else name for name in contenders]
        values = [results.median(name, number) if name else None for name in named]
        if any(value is not None for value in values):
            yield text, [_shown(value) for value in values]


def _ratio_rows(results: Results, contenders: list[str], other: str) -> Iterable[tuple[str, list[str]]]:
    for number, text in _ROWS.items():
        values = [_ratio(results, name, other, number) for name in contenders]
        if any(value is not None for value in values):
            yield text.split(", ms")[0].split(", MB")[0], [_shown(value) for value in values]


def _target_lines(targets: list[Target]) -> str:
    lines = []
    for target in targets:
        sign = "≥" if target.at_least else "≤"
        settled = "" if target.settled is None else f" ({_shown(target.settled)} until all pairs exist)"
        value = "–" if target.value is None else f"{_shown(target.value)}{target.unit}{settled}"
        lines.append(f"{target.verdict:>12}  {target.text}: {value}, must be {sign} {target.limit:g}{target.unit}")
    return "\n".join(lines)


def _table(rows: Iterable[tuple[str, list[str]]], heads: list[str]) -> str:
    lines = [("", heads), *rows]
    first = max(len(text) for text, _ in lines)
    widths = [max(len(cells[column]) for _, cells in lines) for column in range(len(heads))]
    return "\n".join(
        text.ljust(first) + "".join("  " + cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        for text, cells in lines
    )


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _ratio(results: Results, first: str, second: str, number: str) -> float | None:
    return results.between((first, number), (second, number), _divide)


def _difference(results: Results, first: str, second: str, number: str) -> float | None:
    return results.between((first, number), (second, number), lambda ours, theirs: ours - theirs)


def _divide(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else float("inf")
