"""`agentcap grade`: finished results graded, or graded again."""

from __future__ import annotations

import argparse

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, add_results, emit, note, open_graders, tell_faults
from pytest_agentcap.commands.output import complain


def add(commands: Commands) -> None:
    parser = commands.add_parser("grade", help="grade finished results")
    add_results(parser)
    parser.add_argument("-g", "--grader", action="append", required=True, metavar="PATH", help="may be repeated")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.regrade import GRADES, score_fields
    from pytest_agentcap.analysis.sources import read_any
    from pytest_agentcap.analysis.views import jsonl_text
    from pytest_agentcap.conversation.sources import Faults
    from pytest_agentcap.formats.report_rows import GradedResult

    faults = Faults()
    grading = open_graders(args.grader)
    records = read_any(args.results, faults)
    for record in records:
        record.to(GradedResult)
    rows, status = [], 0
    for place, record in enumerate(records, 1):
        grade = grading.grade(record.value)
        if grade.problem:
            complain(f"{record.place}: {grade.problem}")
            status = 1
        kept = {key: value for key, value in record.value.items() if key not in GRADES}
        rows.append({**kept, **score_fields(grade)})
        if args.progress:
            note(f"[{place}/{len(records)}] {record.value['id']}")
    emit(jsonl_text(rows), args.output)
    return max(status, tell_faults(faults))
