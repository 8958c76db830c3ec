"""`agentcap analyze`: what model steps and tool calls took."""

from __future__ import annotations

import argparse
import json

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, count, emit, tell_faults
from pytest_agentcap.commands.traces import add_sources, read_sources


def add(commands: Commands) -> None:
    parser = commands.add_parser("analyze", help="tell what model steps and tool calls took, and compare")
    add_sources(parser)
    parser.add_argument(
        "-f", "--format", choices=("text", "markdown", "json"), default="text", help="how to write it (default: text)"
    )
    parser.add_argument(
        "--top", type=count, default=10, metavar="N", help="how many of the slowest and hungriest calls (default: 10)"
    )
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pytest_agentcap.conversation.sources import Faults
    from pytest_agentcap.tracestats.analyze import analyze
    from pytest_agentcap.tracestats.sections import as_markdown, as_text, sections

    faults = Faults()
    told = analyze(read_sources(args, faults), top=args.top)
    if args.format == "json":
        emit(json.dumps(asdict(told), indent=2) + "\n", args.output)
    else:
        write = as_markdown if args.format == "markdown" else as_text
        emit(write(sections(told)), args.output)
    return tell_faults(faults)
