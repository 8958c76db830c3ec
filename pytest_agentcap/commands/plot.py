"""`agentcap plot`: figures of what model steps and tool calls took."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import count, tell_faults
from pytest_agentcap.commands.output import write
from pytest_agentcap.commands.traces import add_sources, read_sources


def add(commands: Commands) -> None:
    parser = commands.add_parser("plot", help="draw what model steps and tool calls took")
    add_sources(parser)
    parser.add_argument(
        "--outdir", type=Path, default=Path("figures"), metavar="DIR", help="where to (default: figures)"
    )
    parser.add_argument(
        "--timelines", type=count, default=5, metavar="N", help="of how many sessions, the longest (default: 5)"
    )
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.conversation.sources import Faults
    from pytest_agentcap.tracestats.plots import draw_all

    faults = Faults()
    drawn = draw_all(read_sources(args, faults), args.outdir, timelines=args.timelines)
    for path in drawn.files:
        write(str(path))
    for name in drawn.left_out:
        write(f"{name}: not drawn, no value of it is known")
    return tell_faults(faults)
