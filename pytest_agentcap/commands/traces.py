"""What the commands on traces share: which sources they take, and how these are read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pytest_agentcap.runs.layout import RunDirectory, find_runs, workspace_folder
from pytest_agentcap.runs.listing import TargetError

if TYPE_CHECKING:
    from pytest_agentcap.conversation.sources import Faults
    from pytest_agentcap.tracestats.model import Trace

_FILES = "a run, a captures parquet, AgentTrace's JSONL or parquet, a folder of these, or hf://datasets/OWNER/NAME"


def add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help=_FILES)
    parser.add_argument("--all", action="store_true", help="every run of the workspace")


def read_sources(args: argparse.Namespace, faults: Faults) -> list[Trace]:
    """Read all traces that were named; raises TargetError when there are none."""
    from pytest_agentcap.tracestats.sources import read_traces

    if args.all == bool(args.files):
        raise TargetError("name the files or runs, or pass --all")
    targets: list[str | RunDirectory] = [*find_runs(workspace_folder())] if args.all else [*args.files]
    traces = list(read_traces(targets, faults))
    if not traces:
        told = f": {faults.lines[0]}" if faults.lines else ""
        raise TargetError(f"no sessions in {', '.join(args.files) or workspace_folder()}{told}")
    return traces
