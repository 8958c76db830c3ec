"""`agentcap format`: results as JSON lines, Markdown or CSV."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, add_results, emit, note, tell_faults


def add(commands: Commands) -> None:
    parser = commands.add_parser("format", help="write results as JSON lines, Markdown or CSV")
    add_results(parser)
    parser.add_argument("-f", "--style", choices=("jsonl", "markdown", "csv"), default="jsonl", help="default: jsonl")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.sources import read_any
    from pytest_agentcap.analysis.views import csv_text, jsonl_text, markdown_text, read_views
    from pytest_agentcap.conversation.sources import Faults

    faults = Faults()
    records = read_any(args.results, faults)
    views = read_views(records)
    if args.style == "jsonl":
        text = jsonl_text([record.value for record in records])
    else:
        text = csv_text(views) if args.style == "csv" else markdown_text(views, datetime.now(UTC))
    emit(text, args.output)
    if args.progress:
        note(f"Formatted {len(records)} results as {args.style}")
    return tell_faults(faults)
