"""`agentcap inspect`: runs, calls and messages in fzf."""

from __future__ import annotations

import argparse
import signal
import sys

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import write
from pytest_agentcap.commands.signals import exit_on
from pytest_agentcap.text import reindent

_INTERRUPTED = 130
_TARGETS = (
    "a run id or directory, a workspace, a captures parquet or a folder with some, hf://datasets/OWNER/NAME or "
    "OWNER/NAME on the Hub, or a rid or its first digits (4+), whose request is printed; default: the workspace"
)


def add(commands: Commands) -> None:
    parser = commands.add_parser("inspect", help="look through runs, calls and messages")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=_TARGETS)
    parser.add_argument("--rid", action="store_true", help="print the id of the call that is picked, or of TARGET")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.inspect.browse import browse
    from pytest_agentcap.inspect.target import resolve
    from pytest_agentcap.runs.captures import Capture

    found = resolve(args.target, picks_rid=args.rid)
    if isinstance(found, Capture):
        write(found.rid if args.rid else reindent(found.request.text.decode("utf-8", "replace")))
        return 0
    # A terminal that is closed must leave no pipes of previews behind.
    with exit_on(signal.SIGHUP, signal.SIGTERM):
        printed = browse(found)
    if printed is not None:
        write(printed)
    sys.stdout.flush()
    # A script that waits for an id must see that there is none.
    return _INTERRUPTED if printed is None and args.rid else 0
