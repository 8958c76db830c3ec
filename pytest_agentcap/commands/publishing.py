"""The half of `agentcap export` that publishes: its options, and runs on their way to the Hub."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Never

from pytest_agentcap.commands.output import complain, write
from pytest_agentcap.runs.layout import RunDirectory

Progress = Callable[[str, int, int], None]
_LICENSE = "an SPDX id as the Hub spells it, such as cc-by-4.0"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what goes with --push to the parser of `export`."""
    group = parser.add_argument_group("publishing")
    group.add_argument(
        "--push", metavar="OWNER/BASE", help="publish to OWNER/BASE-captures and OWNER/BASE-AGENT-traces"
    )
    group.add_argument("--public", action="store_true", help="make new repositories public (default: private)")
    group.add_argument("--license", metavar="ID", dest="license_id", help=f"the datasets' licence: {_LICENSE}")
    group.add_argument("--dry-run", action="store_true", help="say what would be pushed, and push nothing")
    group.add_argument("--replace", action="store_true", help="remove what was published of these runs before")
    group.add_argument("--all-attempts", action="store_true", help="publish sessions that were tried again later too")


def push_runs(runs: Sequence[RunDirectory], args: argparse.Namespace) -> int:
    """Publish finished runs; return 1 when that failed, with one line that says why."""
    from huggingface_hub import HfApi

    from pytest_agentcap.publish.destination import Destination
    from pytest_agentcap.publish.publisher import check_destination, publish_runs
    from pytest_agentcap.publish.push import PushOptions
    from pytest_agentcap.publish.remote import PushError

    place = Destination.parse(args.push)
    options = PushOptions(args.public, args.license_id, args.replace, args.dry_run)
    try:
        if not args.dry_run:
            check_destination(place, HfApi())
        with progress_bars() as progress:
            publish_runs(runs, place, options, None, write, latest=not args.all_attempts, progress=progress)
    except PushError as error:
        complain(f"not pushed: {error}")
        return 1
    return 0


@contextmanager
def progress_bars() -> Iterator[Progress | None]:
    """Give a function that shows how far each run is, or None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bars: dict[str, tqdm[Never]] = {}

    def show(name: str, done: int, total: int) -> None:
        bar = bars.setdefault(name, tqdm(total=total, desc=name, unit=" calls", leave=False))
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
