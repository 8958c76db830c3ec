"""`agentcap grade`: finished results graded, or graded again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, add_results, emit, note, open_graders, tell_faults
from pytest_agentcap.commands.output import complain

if TYPE_CHECKING:
    from pytest_agentcap.analysis.regrade import Grading
    from pytest_agentcap.formats.eval_files import Record


def add(commands: Commands) -> None:
    parser = commands.add_parser("grade", help="grade finished results")
    add_results(parser)
    parser.add_argument("-g", "--grader", action="append", required=True, metavar="PATH", help="may be repeated")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.sources import read_any
    from pytest_agentcap.analysis.views import jsonl_text
    from pytest_agentcap.conversation.sources import Faults

    faults = Faults()
    grading = open_graders(args.grader)
    records = read_any(args.results, faults)
    for record in records:
        _check(record)
    rows, status = [], 0
    for place, record in enumerate(records, 1):
        row, problems = _graded(record, grading)
        for problem in problems:
            complain(f"{record.place}: {problem}")
            status = 1
        rows.append(row)
        if args.progress:
            note(f"[{place}/{len(records)}] {record.value['id']}")
    emit(jsonl_text(rows), args.output)
    return max(status, tell_faults(faults))


def _has_trials(record: Record) -> bool:
    return isinstance(record.value.get("trials"), list)


def _check(record: Record) -> None:
    """Raise ResultsError for a row that cannot be graded, before any is."""
    from pytest_agentcap.formats.eval_rows import TrialResult
    from pytest_agentcap.formats.report_rows import GradedResult

    record.to(TrialResult if _has_trials(record) else GradedResult)


def _graded(record: Record, grading: Grading) -> tuple[dict[str, Any], list[str]]:
    """Return a row with its grades, and what went wrong; a session that came to no answer stays as it is."""
    from msgspec import to_builtins

    from pytest_agentcap.analysis.regrade import is_gradable, regrade, regrade_trials
    from pytest_agentcap.formats.eval_rows import TrialResult

    if _has_trials(record):
        trials, problems = regrade_trials(record.to(TrialResult), grading)
        return to_builtins(trials), problems
    if not is_gradable(record.value):
        note(f"{record.place}: not graded: {record.value['verdict']}")
        return record.value, []
    row, problem = regrade(record.value, grading)
    return row, [problem] if problem else []
