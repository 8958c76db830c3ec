"""An analysis as headed tables, and these as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_agentcap.report.markdown import NOT_KNOWN, cell, figure, table
from pytest_agentcap.text import printable
from pytest_agentcap.tracestats.analyze import CALL_METRICS, STEP_METRICS, Analysis, Call, Group, Unit
from pytest_agentcap.tracestats.figures import Distribution

_PERCENTILES = ("n", "mean", "p50", "p90", "p99", "max")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_CODES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Section:
    """Hold a table with its title, and a line that says how to read it."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""


def sections(told: Analysis) -> Iterator[Section]:
    """Yield the tables of an analysis; a figure that is not known is a dash."""
    yield Section("Sources", ("source", "sessions"), [(name, f"{count:,}") for name, count in told.places.items()])
    groups = [*told.groups, *([told.total] if len(told.groups) > 1 else [])]
    heads = ("dataset", "agent", "model")
    counts = ("sessions", "success", "95 % interval", "steps", "tool calls", "failed", "input tokens", "output tokens")
    yield Section("Sessions", (*heads, *counts), [_counts(each, told) for each in groups], _on_counts(told))
    spent = ("session p50", "session p90", "tool call p50", "tool call p90", "CPU p90", "model", "tools", "idle")
    yield Section("Time", (*heads, *spent), [_times(each, told) for each in groups], _on_time(told))
    figures = [(metric.title, told.steps[name], metric.unit) for name, metric in STEP_METRICS.items()]
    rows = [(title, *_percentiles(found, unit)) for title, found, unit in figures]
    yield Section("Model steps", ("figure", *_PERCENTILES), rows, _on_steps(told.total))
    for name, metric in CALL_METRICS.items():
        rows = [(tool.tool, *_percentiles(tool.figures[name], metric.unit)) for tool in told.tools]
        note = _on_memory(told) if name == "peak_rss_bytes" else ""
        yield Section(f"Tool calls: {metric.title}", ("tool", *_PERCENTILES), rows, note)
    rows = [(tool.tool, f"{tool.calls:,}", f"{tool.failed:,}", _codes(tool.exit_codes)) for tool in told.tools]
    yield Section("Exit codes", ("tool", "calls", "failed", "exit codes (calls)"), rows)
    rows = [(r.tool, str(r.chains), str(r.calls), str(r.longest), str(r.recovered)) for r in told.retries]
    note = "Calls of one tool in a row, all but the last of which failed; recovered: the last one did not."
    yield Section("Retry chains", ("tool", "chains", "calls", "longest", "recovered"), rows, note)
    rows = [("figures (source, quality)", name, f"{count:,}") for name, count in told.measured.items()]
    rows += [("duration (timing)", name, f"{count:,}") for name, count in told.timing.items()]
    yield Section("How it was measured", ("of tool calls", "value", "calls"), rows)
    for title, calls in (
        ("Slowest tool calls", told.slowest),
        ("Most CPU time", told.hungriest_cpu),
        ("Most memory", told.hungriest_memory),
    ):
        head = ("task", "tool", "duration", "CPU", "peak RSS", "exit code", "command")
        yield Section(title, head, [_call(each) for each in calls])


def as_text(found: Iterable[Section]) -> str:
    """Lay tables out in columns for a terminal."""
    return "\n\n".join("\n".join(_text(section)) for section in found) + "\n"


def as_markdown(found: Iterable[Section]) -> str:
    """Write tables as Markdown."""
    lines = ["# Analysis"]
    for section in found:
        lines += ["", f"## {section.title}", ""]
        lines += table(section.head, section.rows) if section.rows else ["None."]
        lines += ["", cell(section.note)] if section.note else []
    return "\n".join(lines) + "\n"


def _text(section: Section) -> Iterator[str]:
    yield section.title
    rows = [section.head, *(tuple(" ".join(printable(text).split()) for text in row) for row in section.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if section.rows else [("none",)]:
        yield "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
    if section.note:
        yield f"  {section.note}"


def _named(group: Group, told: Analysis) -> tuple[str, str, str]:
    if group is told.total:
        return "all", "", ""
    return group.dataset or NOT_KNOWN, group.agent or NOT_KNOWN, group.model or NOT_KNOWN


def _counts(group: Group, told: Analysis) -> tuple[str, ...]:
    rate, interval = group.success_rate, group.success_interval
    return (
        *_named(group, told),
        f"{group.sessions:,}",
        NOT_KNOWN if rate is None else f"{rate:.1%} ({group.passed}/{group.judged})",
        NOT_KNOWN if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}",
        f"{group.steps:,}",
        f"{group.calls:,}",
        f"{group.failed_calls:,}",
        figure(group.input_tokens, ","),
        figure(group.output_tokens, ","),
    )


def _times(group: Group, told: Analysis) -> tuple[str, ...]:
    time = group.time
    parts = (time.model_s, time.tool_s, time.idle_s) if time and time.total_s else (None, None, None)
    values = (
        group.session_s.p50, group.session_s.p90, group.call_s.p50, group.call_s.p90, group.call_cpu_s.p90,
    )  # fmt: skip
    shares = (NOT_KNOWN if part is None or time is None else f"{part / time.total_s:.1%}" for part in parts)
    return (*_named(group, told), *(amount(value, "s") for value in values), *shares)


def _on_counts(told: Analysis) -> str:
    total = told.total
    verdicts = ", ".join(f"{count} {name}" for name, count in total.verdicts.items())
    notes = [f"Verdicts: {verdicts}." if verdicts else ""]
    if total.unknown_calls:
        notes.append(f"Of {total.unknown_calls:,} tool calls it is not known whether they failed.")
    if total.steps_without_tokens:
        notes.append(f"{total.steps_without_tokens:,} steps do not tell their tokens, which the sums leave out.")
    return " ".join(filter(None, notes))


def _on_time(told: Analysis) -> str:
    total = told.total
    return f"Shares are of the {total.timed_sessions:,} of {total.sessions:,} sessions whose time can be split."


def _on_steps(total: Group) -> str:
    return f"{total.failed_steps:,} failed, {total.retried_steps:,} were the same request again."


def _on_memory(told: Analysis) -> str:
    if not told.high_water_sessions:
        return ""
    return (
        f"{told.high_water_sessions:,} sessions are AgentTrace's own, whose peak is the highest of all processes so "
        "far, not that of the call: they are not among the calls with the most memory."
    )


def _percentiles(found: Distribution, unit: Unit) -> tuple[str, ...]:
    values = (found.mean, found.p50, found.p90, found.p99, found.max)
    return (f"{found.n:,}", *(amount(value, unit) for value in values))


def _codes(codes: dict[str, int]) -> str:
    shown: Sequence[str] = [f"{code} ({count:,})" for code, count in list(codes.items())[:_CODES_SHOWN]]
    more = len(codes) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])


def _call(call: Call) -> tuple[str, ...]:
    return (
        call.task or NOT_KNOWN,
        call.tool,
        amount(call.duration_s, "s"),
        amount(call.cpu_s, "s"),
        amount(call.peak_rss_bytes, "bytes"),
        figure(call.exit_code, "d"),
        call.command,
    )


def amount(value: float | None, unit: Unit) -> str:
    """Write a figure with its unit, a dash when it is not known."""
    if value is None:
        return NOT_KNOWN
    if unit == "s":
        return f"{value:.3f} s" if value < 10 else f"{value:,.1f} s"
    if unit == "tokens":
        return f"{value:,.0f}"
    place = 0
    while value >= 1024 and place < len(_UNITS) - 1:
        value, place = value / 1024, place + 1
    return f"{value:,.0f} B" if place == 0 else f"{value:,.1f} {_UNITS[place]}"
