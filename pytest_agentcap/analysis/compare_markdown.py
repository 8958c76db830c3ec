"""Comparisons as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from pytest_agentcap.analysis.texts import fixed
from pytest_agentcap.formats.comparison_rows import (
    CaptureComparison,
    Interval,
    Meta,
    Pair,
    PairedTest,
    TrialsComparison,
)

_CI = "95% CI"


def comparison_markdown(report: CaptureComparison | TrialsComparison) -> str:
    """Write a report as a page of tables."""
    body = _captures(report) if isinstance(report, CaptureComparison) else _trials(report)
    return "\n".join([*_head(report.meta), *body, *_paired(report.paired)]) + "\n"


def _head(meta: Meta) -> Iterator[str]:
    trials = meta.trials_per_prompt is not UNSET
    yield from (f"# {'Trials ' if trials else ''}Comparison Report", "", f"Generated: {meta.generated_at}")
    yield f"Runs: {', '.join(meta.runs)}"
    if trials:
        yield f"Prompts: {meta.prompt_count} | Trials per prompt: {meta.trials_per_prompt}"
    else:
        yield f"Prompts: {meta.prompt_count} total, {meta.prompts_with_all_runs} with all runs"
    yield ""
    if isinstance(meta.warnings, list):
        yield from (f"> {line}" for line in meta.warnings)
        yield ""


def _captures(report: CaptureComparison) -> Iterator[str]:
    yield from ("## Quality", "")
    yield from _table(
        ["Run", "Avg Score", _CI, "Pass Rate", _CI, "Pass", "Fail"],
        [
            [run, fixed(q.avg_score, 3), _interval(q.confidence_intervals, "avgScore", 3), _percent(q.pass_rate),
             _interval(q.confidence_intervals, "passRate", 3), q.pass_count, q.fail_count]
            for run, q in report.quality.items()
        ],
    )  # fmt: skip
    yield from ("## Performance", "")
    yield from _latency(report, total=False)
    yield from ("## Reliability", "")
    yield from _table(
        ["Run", "Tool Errors", "Error Rate", "Completion Rate"],
        [
            [run, r.tool_errors, _percent(r.tool_error_rate), _percent(r.completion_rate)]
            for run, r in report.reliability.items()
        ],
    )
    yield from ("## Head-to-Head", "")
    yield from _pairs(report.head_to_head.pairwise, ("Wins", "Wins"))


def _latency(report: CaptureComparison | TrialsComparison, total: bool) -> Iterator[str]:
    yield from _table(
        ["Run", "P50 (ms)", "P90 (ms)", "P99 (ms)", "Mean (ms)", _CI, "Total (ms)"],
        [
            [run, *(fixed(getattr(p.latency, name), 0) for name in ("p50", "p90", "p99", "mean")),
             _interval(p.confidence_intervals, "latencyMean", 0), fixed(p.total_duration, 0) if total else None]
            for run, p in report.performance.items()
        ],
    )  # fmt: skip


def _trials(report: TrialsComparison) -> Iterator[str]:
    yield from ("## Capability (passAtK)", "")
    yield from _table(
        ["Run", "Avg", _CI, "Median", "P25", "P75"],
        [
            [run, fixed(c.avg_pass_at_k, 3), _interval(c.confidence_intervals, "avgPassAtK", 3),
             fixed(c.median_pass_at_k, 3), fixed(c.p25_pass_at_k, 3), fixed(c.p75_pass_at_k, 3)]
            for run, c in report.capability.items()
        ],
    )  # fmt: skip
    yield from ("## Reliability (passExpK)", "")
    yield from _table(
        ["Run", "Avg", _CI, "Median", "P25", "P75"],
        [
            [run, fixed(r.avg_pass_exp_k, 3), _interval(r.confidence_intervals, "avgPassExpK", 3),
             fixed(r.median_pass_exp_k, 3), fixed(r.p25_pass_exp_k, 3), fixed(r.p75_pass_exp_k, 3)]
            for run, r in report.reliability.items()
        ],
    )  # fmt: skip
    yield from ("## Flakiness", "")
    yield from _table(
        ["Run", "Avg", "Median", "Flaky Prompts", "Most Flaky"],
        [
            [run, fixed(f.avg_flakiness, 3), fixed(f.median_flakiness, 3), f.flaky_prompt_count,
             ", ".join(f"{each.id} ({fixed(each.flakiness, 3)})" for each in f.top_flaky_prompts[:3]) or "-"]
            for run, f in report.flakiness.items()
        ],
    )  # fmt: skip
    if isinstance(report.quality, dict):
        yield from ("## Quality (Scores)", "")
        yield from _table(
            ["Run", "Avg Score", _CI, "Median", "P25", "P75"],
            [
                [run, fixed(q.avg_score, 3), _interval(q.confidence_intervals, "avgScore", 3),
                 fixed(q.median_score, 3), fixed(q.p25_score, 3), fixed(q.p75_score, 3)]
                for run, q in report.quality.items()
            ],
        )  # fmt: skip
    yield from ("## Performance (Latency)", "")
    yield from _latency(report, total=True)
    yield from ("## Head-to-Head", "")
    for title, pairs in (
        ("By Capability", report.head_to_head.capability),
        ("By Reliability", report.head_to_head.reliability),
        ("Overall (Weighted)", report.head_to_head.overall),
    ):
        yield f"### {title}"
        yield from _pairs(pairs, ("A Wins", "B Wins"))
    yield from _estimates(report)


def _estimates(report: TrialsComparison) -> Iterator[str]:
    yield from (
        "## Estimates",
        "",
        "Unbiased, the mean over tasks, while those above are plug-in estimates; trials that were not judged are "
        "left out.",
        "",
    )
    ks = list(next(iter(report.estimates.values())).pass_at)
    yield from _table(
        ["Run", "Pass Rate", _CI, *(f"pass@{k}" for k in ks), *(f"pass^{k}" for k in ks[1:]), "Flakiness", "Judged"],
        [
            [run, fixed(e.pass_rate, 3), _interval(e.confidence_intervals, "passRate", 3),
             *(fixed(e.pass_at.get(k), 3) for k in ks), *(fixed(e.pass_pow.get(k), 3) for k in ks[1:]),
             fixed(e.flakiness, 3), e.judged]
            for run, e in report.estimates.items()
        ],
    )  # fmt: skip


def _pairs(pairs: Sequence[Pair], wins: tuple[str, str]) -> Iterator[str]:
    rows = [[f"{pair.run_a} vs {pair.run_b}", pair.a_wins, pair.b_wins, pair.ties] for pair in pairs]
    yield from _table(["Matchup", *wins, "Ties"], rows)


def _paired(tests: Any) -> Iterator[str]:
    if not isinstance(tests, list):
        return
    yield from (
        "## Paired by Task",
        "",
        "Difference A - B over the tasks of both runs; p by permutation, after Holm.",
        "",
    )
    yield from _table(
        ["Matchup", "Figure", "Tasks", "A", "B", "Difference", _CI, "p", "p (Holm)", "Cohen's d"],
        [_test(test) for test in tests],
    )


def _test(test: PairedTest) -> list[Any]:
    return [
        f"{test.run_a} vs {test.run_b}",
        test.metric,
        test.tasks,
        fixed(test.mean_a, 3),
        fixed(test.mean_b, 3),
        fixed(test.difference, 3),
        "-" if test.interval is None else _ends(test.interval, 3),
        fixed(test.p_value, 4),
        fixed(test.p_adjusted, 4),
        fixed(test.effect_size, 3),
    ]


def _interval(intervals: Any, name: str, digits: int) -> str | None:
    """Write an interval; None when the report has no intervals, so that their column is left out."""
    if not isinstance(intervals, dict):
        return None
    return "-" if intervals[name] is None else _ends(intervals[name], digits)


def _ends(interval: Interval, digits: int) -> str:
    return f"[{fixed(interval[0], digits)}, {fixed(interval[1], digits)}]"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{fixed(100 * value, 1)}%"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    kept = [place for place in range(len(head)) if any(row[place] is not None for row in rows)]
    yield "| " + " | ".join(head[place] for place in kept) + " |"
    yield "|" + "|".join("-" * (len(head[place]) + 2) for place in kept) + "|"
    for row in rows:
        yield "| " + " | ".join(_cell(row[place]) for place in kept) + " |"
    yield ""


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
