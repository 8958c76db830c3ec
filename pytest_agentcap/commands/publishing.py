"""The half of `agentcap export` that publishes: its options, and runs on their way to the Hub."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Never

from pytest_agentcap.commands.output import complain, write
from pytest_agentcap.runs.layout import RunDirectory

if TYPE_CHECKING:
    from pytest_agentcap.publish.derived import Export
    from pytest_agentcap.publish.destination import Destination
    from pytest_agentcap.publish.gate import SecretGate
    from pytest_agentcap.publish.push import PushOptions

Progress = Callable[[str, int, int], None]
_PUBLISHING = ("public", "license-id", "dry-run", "replace", "all-attempts")
_SCANNING = ("rescan", "strict", "redact", "no-verify", "scan-config")
_LICENSE = "an SPDX id as the Hub spells it, such as cc-by-4.0"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what goes with --push to the parser of `export`."""
    group = parser.add_argument_group("publishing")
    group.add_argument(
        "--push",
        metavar="OWNER/BASE",
        help="publish to OWNER/BASE-captures and OWNER/BASE-AGENT-traces; with --format, to the dataset of that name",
    )
    group.add_argument("--public", action="store_true", help="make new repositories public (default: private)")
    group.add_argument("--license", metavar="ID", dest="license_id", help=f"the datasets' licence: {_LICENSE}")
    group.add_argument("--dry-run", action="store_true", help="say what would be pushed, and push nothing")
    group.add_argument("--replace", action="store_true", help="remove what was published of these runs before")
    group.add_argument("--all-attempts", action="store_true", help="publish sessions that were tried again later too")
    scan = parser.add_argument_group("secret scan, before anything is published")
    scan.add_argument("--no-scan", action="store_true", help="publish without it")
    scan.add_argument("--rescan", action="store_true", help="scan again what was scanned before")
    scan.add_argument("--strict", action="store_true", help="do not publish what may be a secret either")
    scan.add_argument("--redact", action="store_true", help="publish placeholders in the place of secrets")
    scan.add_argument("--no-verify", action="store_true", help="ask nobody whether a secret works")
    scan.add_argument("--scan-config", type=Path, metavar="FILE", help="the scanner's own configuration file")


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that say nothing without --push, or that contradict each other.

    Raises ValueError.
    """
    given = _given(args, _SCANNING)
    if args.no_scan and given:
        raise ValueError(f"export: {given[0]} needs the scan: leave out --no-scan")
    if args.scan_config and not args.scan_config.is_file():
        raise ValueError(f"export: --scan-config {args.scan_config}: no such file")
    idle = [] if args.push else _given(args, (*_PUBLISHING, *_SCANNING, "no-scan"))
    if idle:
        raise ValueError(f"export: {idle[0]} goes with --push")


def _given(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    return [f"--{name.removesuffix('-id')}" for name in names if getattr(args, name.replace("-", "_"))]


def open_gate(args: argparse.Namespace) -> SecretGate | None:
    """Make the gate that the options ask for; None with --no-scan.

    Raises PushError when no scanner is installed.
    """
    from pytest_agentcap.publish.gate import GateOptions, SecretGate

    if args.no_scan:
        return None
    options = GateOptions(args.strict, args.redact, args.rescan, not args.no_verify, args.scan_config)
    return SecretGate.open(options, write)


def leave_out(runs: Iterable[RunDirectory]) -> list[RunDirectory]:
    """Return the runs that may be published now, and say which ones are not and why: nobody named them."""
    from pytest_agentcap.publish.publisher import refuse_embedded
    from pytest_agentcap.publish.remote import PushError
    from pytest_agentcap.runs.recovery import is_held

    kept = []
    for run in runs:
        try:
            refuse_embedded(run)
            if is_held(run):
                raise PushError(f"{run.id} is still being made: push it when it has ended")
        except (PushError, ValueError) as error:
            complain(f"left out: {error}")
        else:
            kept.append(run)
    return kept


def push_sources(sources: Sequence[RunDirectory | Path], args: argparse.Namespace) -> int:
    """Publish finished runs and captures parquets; return 1 when that failed, with one line that says why."""
    from pytest_agentcap.publish.publisher import publish_runs

    def publish(place: Destination, options: PushOptions, gate: SecretGate | None) -> None:
        with progress_bars() as progress:
            publish_runs(sources, place, options, gate, write, latest=not args.all_attempts, progress=progress)

    return _push(args, publish)


def push_export(export: Export, args: argparse.Namespace) -> int:
    """Publish an export in another format as a dataset of its own; return as `push_sources`."""
    from pytest_agentcap.publish.derived import publish_derived

    return _push(args, lambda place, options, gate: publish_derived(export, place, options, gate, write))


def _push(args: argparse.Namespace, publish: Callable[[Destination, PushOptions, SecretGate | None], None]) -> int:
    from huggingface_hub import HfApi

    from pytest_agentcap.publish.destination import Destination
    from pytest_agentcap.publish.publisher import check_destination
    from pytest_agentcap.publish.push import PushOptions
    from pytest_agentcap.publish.remote import Hub, PushError

    place = Destination.parse(args.push)
    try:
        if not args.dry_run:
            check_destination(place, Hub(HfApi()))
        publish(place, PushOptions(args.public, args.license_id, args.replace, args.dry_run), open_gate(args))
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
        if name not in bars:
            bars[name] = tqdm(total=total, desc=name, unit=" calls", leave=False)
        bars[name].update(done - bars[name].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
