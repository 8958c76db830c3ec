"""`agentcap calibrate`: samples of graded sessions to judge, and how far the grader agrees with the judgement."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import SOURCES, add_output, count, emit, note, open_graders, tell_faults
from pytest_agentcap.commands.output import complain

if TYPE_CHECKING:
    from pytest_agentcap.formats.eval_rows import CaptureResult, GraderResult
    from pytest_agentcap.formats.report_rows import CalibrationLabel, CalibrationSample


def add(commands: Commands) -> None:
    parser = commands.add_parser("calibrate", help="sample graded sessions for review, or take a review back")
    parser.add_argument("results", metavar="RESULTS", help=SOURCES)
    parser.add_argument("-s", "--sample", type=count, default=10, metavar="N", help="failures to draw (default 10)")
    parser.add_argument("--passes", type=count, default=0, metavar="N", help="passes to draw (default 0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the same samples again (default 0)")
    parser.add_argument("-g", "--grader", action="append", default=[], metavar="PATH", help="grade the samples again")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="a report with boxes ticked, or JSONL of id and pass: print agreement",
    )
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.sources import read_captures
    from pytest_agentcap.conversation.sources import Faults

    faults = Faults()
    rows = read_captures(args.results, faults)
    status = _compare(rows, args) if args.labels else _sample(rows, args)
    return max(status, tell_faults(faults))


def _sample(rows: Sequence[CaptureResult], args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.calibrate import calibration_markdown, name_samples, sample_rows

    names = dict(zip(map(id, rows), name_samples(rows), strict=True))
    drawn = sample_rows(rows, args.sample, args.passes, args.seed)
    if not drawn and (args.sample or args.passes):
        note("No graded results to sample" if args.passes else "No failures found in results")
        return 0
    samples, status = _cut([(row, names[id(row)], score) for row, score in drawn], args.grader)
    emit(calibration_markdown(samples, datetime.now(UTC)), args.output)
    return status


def _cut(
    drawn: Sequence[tuple[CaptureResult, str, GraderResult]], graders: Sequence[str]
) -> tuple[list[CalibrationSample], int]:
    from msgspec import to_builtins

    from pytest_agentcap.analysis.calibrate import sample_of

    if not graders:
        return [sample_of(row, name, score, None) for row, name, score in drawn], 0
    samples, status = [], 0
    grading = open_graders(graders)
    for row, name, score in drawn:
        grade = grading.grade(to_builtins(row))
        if grade.problem:
            complain(f"{name}: {grade.problem}")
            status = 1
        samples.append(sample_of(row, name, score, grade.score))
    return samples, status


def _compare(rows: Sequence[CaptureResult], args: argparse.Namespace) -> int:
    from msgspec import to_builtins

    from pytest_agentcap.analysis.calibrate import agreement_of, name_samples
    from pytest_agentcap.formats.eval_rows import GraderResult

    scores = {
        name: row.score.passed
        for name, row in zip(name_samples(rows), rows, strict=True)
        if isinstance(row.score, GraderResult)
    }
    agreement = agreement_of(scores, _read_labels(args.labels, scores))
    emit(json.dumps(to_builtins(agreement), indent=2), args.output)
    return 0


def _read_labels(path: Path, scores: dict[str, bool]) -> list[CalibrationLabel]:
    from pytest_agentcap.analysis.calibrate import read_review
    from pytest_agentcap.analysis.sources import read_records_of
    from pytest_agentcap.formats.eval_files import ResultsError, check_unique
    from pytest_agentcap.formats.report_rows import CalibrationLabel

    if path.suffix != ".jsonl":
        return read_review(str(path), path.read_text("utf-8"), scores)
    records = read_records_of(str(path))
    labels = [record.to(CalibrationLabel) for record in records]
    check_unique(records)
    for record, label in zip(records, labels, strict=True):
        if label.id not in scores:
            raise ResultsError(f"{record.place}: the results hold no graded {label.id!r}")
    return labels
