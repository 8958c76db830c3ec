"""`agentcap extract`: what headless programs printed, as results."""

from __future__ import annotations

import argparse

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, emit, note, row_line
from pytest_agentcap.commands.harness import read_schema


def add(commands: Commands) -> None:
    parser = commands.add_parser("extract", help="read what headless programs printed by their adapter schema")
    parser.add_argument("raw", nargs="?", default="-", metavar="RAW", help="RawOutput rows (default: standard input)")
    parser.add_argument("-s", "--schema", required=True, metavar="FILE", help="the adapter schema, JSON")
    parser.add_argument("--progress", action="store_true", help="say on standard error how far it is")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.extract import extract_row
    from pytest_agentcap.analysis.sources import read_records_of
    from pytest_agentcap.formats.eval_rows import RawOutput

    schema = read_schema(args.schema)
    rows = [record.to(RawOutput) for record in read_records_of(args.raw)]
    emit("".join(f"{row_line(extract_row(schema, row))}\n" for row in rows), args.output)
    if args.progress:
        note(f"Extracted {len(rows)} results")
    return 0
