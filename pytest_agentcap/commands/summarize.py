"""`agentcap summarize`: sessions at a glance."""

from __future__ import annotations

import argparse

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import SOURCES, add_output, emit, row_line, tell_faults


def add(commands: Commands) -> None:
    parser = commands.add_parser("summarize", help="show each session in short: prompt, tools, answer, duration")
    parser.add_argument("results", metavar="RESULTS", help=SOURCES)
    parser.add_argument("-m", "--markdown", action="store_true", help="write Markdown with steps and scores")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.sources import read_captures
    from pytest_agentcap.analysis.summarize import summary_markdown, summary_row
    from pytest_agentcap.conversation.sources import Faults

    faults = Faults()
    rows = read_captures(args.results, faults)
    written = [summary_markdown(row) if args.markdown else row_line(summary_row(row)) for row in rows]
    emit("\n".join(written), args.output)
    return tell_faults(faults)
