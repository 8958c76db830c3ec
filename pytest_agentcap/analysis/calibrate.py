"""Samples of graded sessions for somebody to judge, and how far the grader agrees with them."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from msgspec import UNSET

from pytest_agentcap.analysis.estimators import wilson_interval
from pytest_agentcap.analysis.texts import cut, fence, joined, number
from pytest_agentcap.formats.eval_files import ResultsError
from pytest_agentcap.formats.eval_rows import CaptureResult, GraderResult, Message, Plan, Step, Thought, ToolCall
from pytest_agentcap.formats.report_rows import Agreement, CalibrationLabel, CalibrationSample, Confusion

_OUTPUT, _TEXT = 500, 100
_SHORT = 5
_TITLE = re.compile(r"## Sample \d+: (.*)")
_BOX = re.compile(r"- \[(?P<mark>[ xX])\] (?P<text>.+)")
_AMBIGUOUS, _GRADER_BUG = "Ambiguous", "Grader bug"


def sample_rows(
    rows: Sequence[CaptureResult], failures: int, passes: int, seed: int
) -> list[tuple[CaptureResult, GraderResult]]:
    """Draw so many failed and so many passed sessions, in the order of the file; ungraded ones are never drawn."""
    graded = [(place, row, row.score) for place, row in enumerate(rows) if isinstance(row.score, GraderResult)]
    random_source = random.Random(seed)
    drawn = []
    for wanted, passed in ((failures, False), (passes, True)):
        pool = [each for each in graded if each[2].passed is passed]
        drawn += pool if wanted >= len(pool) else random_source.sample(pool, wanted)
    return [(row, score) for _, row, score in sorted(drawn, key=lambda each: (each[2].passed, each[0]))]


def name_samples(rows: Iterable[CaptureResult]) -> list[str]:
    """Name rows for labels: by id, and by trial where several rows have one."""
    rows = list(rows)
    counts = Counter(row.id for row in rows)
    return [f"{row.id} (trial {row.origin.trial})" if counts[row.id] > 1 and row.origin else row.id for row in rows]


def sample_of(row: CaptureResult, name: str, score: GraderResult, rescored: GraderResult | None) -> CalibrationSample:
    """Cut a session to what a reviewer needs."""
    return CalibrationSample(
        id=name,
        input=row.input,
        output=row.output,
        hint=row.hint,
        original_score=score,
        rescored_result=rescored or UNSET,
        trajectory_snippet=_snippet(row.trajectory),
    )


def _snippet(steps: Sequence[Step]) -> list[Step]:
    if len(steps) <= _SHORT:
        return list(steps)
    return [*steps[:2], steps[len(steps) // 2], *steps[-2:]]


def calibration_markdown(samples: Sequence[CalibrationSample], now: datetime) -> str:
    """Write samples with boxes to tick, which `read_labels` takes back."""
    passes = any(sample.original_score.passed for sample in samples)
    stamp = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    lines = ["# Grader Calibration Report", "", f"Generated: {stamp}", f"Samples: {len(samples)}", ""]
    lines += ["## Instructions", "", f"Review each {'sample' if passes else 'failure'} below and mark whether:"]
    lines += ["- [ ] **Valid failure** - Grader correctly identified a problem"]
    lines += ["- [ ] **Valid pass** - Grader correctly found nothing wrong"] if passes else []
    lines += [
        f"- [ ] **Grader bug** - {'Grader was wrong' if passes else 'Output was actually correct, grader was wrong'}",
        "- [ ] **Ambiguous** - Unclear if the output is correct or not",
        "",
        "---",
    ]
    for place, sample in enumerate(samples, 1):
        lines += ["", *_sample(sample, place)]
    return "\n".join(lines) + "\n"


def _sample(sample: CalibrationSample, place: int) -> Iterator[str]:
    yield from (f"## Sample {place}: {sample.id}", "", f"**Input:** {joined(sample.input, chr(10))}", "")
    if sample.hint:
        yield from (f"**Hint:** {sample.hint}", "")
    yield from (f"**Output:** {cut(sample.output, _OUTPUT)}", "")
    yield from _score("Original Score", sample.original_score, "Reasoning")
    if isinstance(sample.rescored_result, GraderResult):
        yield from ("", *_score("Re-scored", sample.rescored_result, "Re-score Reasoning"))
    steps = [_step(step) for step in sample.trajectory_snippet]
    ticks = fence("\n".join(steps))
    yield from ("", "**Trajectory Snippet:**", ticks, *steps, ticks)
    valid = "Valid pass" if sample.original_score.passed else "Valid failure"
    yield from ("", "**Review:**", f"- [ ] {valid}", f"- [ ] {_GRADER_BUG}", f"- [ ] {_AMBIGUOUS}", "", "---")


def _score(title: str, score: GraderResult, why: str) -> Iterator[str]:
    yield f"**{title}:** {'PASS' if score.passed else 'FAIL'} ({number(score.score)})"
    if score.reasoning:
        yield f"**{why}:** {score.reasoning}"


def _step(step: Step) -> str:
    match step:
        case Thought():
            return f"[thought] {step.content[:_TEXT]}..."
        case Message():
            return f"[message] {step.content[:_TEXT]}..."
        case ToolCall():
            return f"[tool_call] {step.name}: {step.status}"
        case Plan():
            return f"[plan] {len(step.entries)} entries"


def read_review(name: str, text: str, scores: Mapping[str, bool]) -> list[CalibrationLabel]:
    """Read the ticked boxes of a calibration report; `scores` tells how each sample was graded.

    A sample without a tick has no label. Raises ResultsError for a sample with two, and for an unknown one.
    """
    labels: dict[str, CalibrationLabel] = {}
    sample: str | None = None
    for place, line in enumerate(text.split("\n"), 1):
        if title := _TITLE.fullmatch(line.rstrip()):
            sample = title[1]
        box = _BOX.fullmatch(line.strip())
        if box is None or box["mark"] == " " or sample is None:
            continue
        if sample in labels:
            raise ResultsError(f"{name}:{place}: the sample {sample!r} has two ticks")
        if sample not in scores:
            raise ResultsError(f"{name}:{place}: the results hold no graded {sample!r}")
        labels[sample] = CalibrationLabel(sample, _verdict(box["text"], scores[sample]))
    return list(labels.values())


def _verdict(box: str, graded: bool) -> bool | None:
    if box.startswith(_AMBIGUOUS):
        return None
    return not graded if box.startswith(_GRADER_BUG) else graded


def agreement_of(scores: Mapping[str, bool], labels: Iterable[CalibrationLabel]) -> Agreement:
    """Compare grades with labels; Cohen's kappa is (po - pe)/(1 - pe), source: Cohen 1960.

    Of samples drawn at different rates, the agreement is that of the samples, not of all results.
    """
    labels = list(labels)
    counts = Counter((scores[label.id], label.passed) for label in labels if label.passed is not None)
    both, grader, reviewer, none = (
        counts[pair] for pair in ((True, True), (True, False), (False, True), (False, False))
    )
    n = both + grader + reviewer + none
    return Agreement(
        labelled=n,
        ambiguous=len(labels) - n,
        agreement=(both + none) / n if n else None,
        agreement_interval=wilson_interval(n, both + none),
        kappa=_kappa(both, grader, reviewer, none),
        confusion=Confusion(both, grader, reviewer, none),
    )


def _kappa(both: int, grader: int, reviewer: int, none: int) -> float | None:
    n = both + grader + reviewer + none
    # In whole numbers, so that a chance agreement of exactly 1 is seen.
    expected = (both + grader) * (both + reviewer) + (none + grader) * (none + reviewer)
    return None if n * n == expected else ((both + none) * n - expected) / (n * n - expected)
