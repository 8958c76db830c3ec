"""`agentcap diff`: what got better or worse from one run to another, for people and for CI."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, emit, tell_faults
from pytest_agentcap.commands.output import complain

_NOISE, _ANY = "noise", "any"


def add(commands: Commands) -> None:
    parser = commands.add_parser("diff", help="what changed from one run to another; exit status 1 when it got worse")
    parser.add_argument("baseline", metavar="BASELINE", help="a run, or a report's folder or run_aggregate.json")
    parser.add_argument("run", metavar="RUN", help="the same of what is compared with it")
    parser.add_argument(
        "--fail-on",
        choices=(_NOISE, _ANY),
        default=_NOISE,
        help="exit with 1 when success or score is worse beyond noise (default), or when any task is worse",
    )
    parser.add_argument("-f", "--format", choices=("markdown", "json"), default="markdown")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the intervals (default 0)")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.statistics import Bootstrap
    from pytest_agentcap.conversation.sources import Faults
    from pytest_agentcap.report.baseline import read_rows
    from pytest_agentcap.report.difference import difference
    from pytest_agentcap.report.difference_text import difference_markdown

    (before, *faults), (after, *others) = read_rows(args.baseline), read_rows(args.run)
    told = difference(before, after, Bootstrap(args.seed))
    if not told.tasks:
        raise ValueError(f"{args.baseline} and {args.run} have no task in common")
    text = difference_markdown(args.baseline, args.run, told)
    emit(json.dumps(asdict(told), indent=2) if args.format == "json" else text, args.output)
    status = tell_faults(Faults([line for lines in (*faults, *others) for line in lines]))
    if told.regressed:
        complain(f"worse beyond noise: {', '.join(told.regressed)}")
        return 1
    worse = told.changed("worse") if args.fail_on == _ANY else ()
    if worse:
        complain(f"worse: {', '.join(f'{task.repo}/{task.task_id}' for task in worse)}")
        return 1
    return status
