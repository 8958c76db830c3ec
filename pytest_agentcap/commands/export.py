"""`agentcap export`: what the end of a session does, again or for the first time."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands import publishing
from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write
from pytest_agentcap.conversation.files import HUB, CapturesFile, find_files, is_repository, local_copy
from pytest_agentcap.formats.registry import FORMATS
from pytest_agentcap.runs.layout import RunDirectory, find_runs, workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_run
from pytest_agentcap.runs.masking import environment_secrets

if TYPE_CHECKING:
    from pytest_agentcap.publish.parquet import ParquetReport


def add(commands: Commands) -> None:
    parser = commands.add_parser("export", help="finish what a crash left and write captures.parquet")
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a run id, a run directory, a captures parquet or a folder with some, hf://datasets/OWNER/NAME or "
        "OWNER/NAME on the Hub",
    )
    parser.add_argument("--all", action="store_true", help="every run of the workspace that has captures")
    parser.add_argument("--format", choices=FORMATS, help="write conversations in this format instead")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="where to (default: the run itself; with --format, agentcap-FORMAT)",
    )
    parser.add_argument("--latest", action="store_true", help="keep the highest attempt of each task and trial")
    parser.add_argument(
        "--redact-host", action="store_true", help="with --format: this machine's home, folders and name are replaced"
    )
    parser.add_argument(
        "--redact-path",
        action="append",
        default=[],
        metavar="PATH[=TEXT]",
        help="with --format: what stands in this path's place (default: <redacted path>)",
    )
    parser.add_argument(
        "--redact-line",
        action="append",
        default=[],
        metavar="REGEX",
        help="with --format: lines that match become <redacted line>",
    )
    publishing.add_options(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    if args.all == bool(args.targets):
        raise TargetError("export: name the runs, or pass --all")
    publishing.check_options(args)
    _check_redaction(args)
    sources = _find_sources(workspace_folder(), args)
    _check_names(sources, args)
    with tempfile.TemporaryDirectory(prefix="agentcap-export-") as copies:
        # What is on the Hub is read whole, and more than once: by the scan, the export and the card.
        return _export([s if isinstance(s, RunDirectory) else local_copy(s, Path(copies)) for s in sources], args)


def _check_names(sources: Sequence[RunDirectory | CapturesFile], args: argparse.Namespace) -> None:
    """Refuse what would be written over something else, the source itself or the parquet of another one."""
    if args.format:
        return
    files = [source for source in sources if isinstance(source, CapturesFile)]
    if files and not (args.output or args.push):
        raise TargetError(f"{files[0].name} is a parquet file already: pass --format, --output or --push")
    names = [_parquet_name(source) for source in sources]
    twice = [name for name in names if names.count(name) > 1]
    if args.output and twice:
        raise TargetError(f"export: two targets are called {twice[0]}: --output has room for one of them")
    if args.output and any(
        (args.output / _parquet_name(file)).resolve() == Path(file.name).resolve() for file in files
    ):
        raise TargetError(f"export: --output {args.output} is where {files[0].name} is: it would be replaced")


def _parquet_name(source: RunDirectory | CapturesFile) -> str:
    return f"{source.id}.parquet" if isinstance(source, RunDirectory) else source.name.rpartition("/")[2]


def _redacts(args: argparse.Namespace) -> bool:
    return bool(args.redact_host or args.redact_path or args.redact_line)


def _check_redaction(args: argparse.Namespace) -> None:
    if _redacts(args) and args.format in (None, "agentcap"):
        raise TargetError("export: captures stay verbatim: paths and lines are redacted with another --format only")


def _tell_repeated(sources: Sequence[RunDirectory | Path]) -> None:
    """Say which files hold the same run: states of it that were published one after another, for example."""
    from pytest_agentcap.inspect.footer import read_footer

    known: dict[str, str] = {}
    for source in sources:
        place = str(source.path if isinstance(source, RunDirectory) else source)
        run_id = source.id if isinstance(source, RunDirectory) else read_footer(find_files(source)[0]).run_id
        if run_id in known:
            complain(f"{known[run_id]} and {place} both hold {run_id}: its calls come twice")
        elif run_id:
            known[run_id] = place


def _export(sources: list[RunDirectory | Path], args: argparse.Namespace) -> int:
    if args.format:
        return _export_format(sources, args)
    runs = [source for source in sources if isinstance(source, RunDirectory)]
    files = [source for source in sources if isinstance(source, Path)] if args.output else []
    with publishing.progress_bars() as progress:
        status = max([_export_run(run, args, progress) for run in runs], default=0)
    status = max([status, *(_export_file(file, args) for file in files)])
    return max(status, publishing.push_sources(sources, args)) if args.push else status


def _find_sources(folder: Path, args: argparse.Namespace) -> list[RunDirectory | CapturesFile]:
    if not args.all:
        found = [source for target in args.targets for source in _find_source(folder, target)]
        return list({str(s.path) if isinstance(s, RunDirectory) else s.name: s for s in found}.values())
    runs = [run for run in find_runs(folder) if any(run.captures.iterdir())]
    if not runs:
        raise TargetError(f"no runs with captures in {folder}")
    kept = publishing.leave_out(runs) if args.push else runs
    if not kept:
        raise TargetError(f"export: there is nothing to push in {folder}")
    return [*kept]


def _find_source(folder: Path, target: str) -> Sequence[RunDirectory | CapturesFile]:
    """Return the run that a target names, or its parquet files."""
    if target.startswith(HUB):
        return find_files(target)
    exists = Path(target).exists()
    if target.endswith(".parquet") and not exists:
        raise TargetError(f"{target}: no such file")
    run = find_run(folder, target)
    if run is not None:
        return [run]
    if not exists and not is_repository(target):
        raise TargetError(f"{target} is neither a run in {folder}, a run directory, nor a dataset on the Hub")
    return find_files(target)


def _export_format(sources: list[RunDirectory | Path], args: argparse.Namespace) -> int:
    """Write the sources in another format and say so; return 1 when a run could not be finished or a call not read."""
    from pytest_agentcap.formats.export import export_format
    from pytest_agentcap.formats.redaction import Redaction, host_lines, host_paths

    redaction = None
    if _redacts(args):
        paths, lines = (host_paths(), host_lines()) if args.redact_host else ([], [])
        redaction = Redaction.of([*args.redact_path, *paths], [*args.redact_line, *lines], sessions=args.redact_host)
    status = max([_finish(source) for source in sources if isinstance(source, RunDirectory)], default=0)
    folder = args.output or Path(f"agentcap-{args.format}")
    latest = args.latest or bool(args.push and not args.all_attempts)
    report = export_format(args.format, sources, folder, latest=latest, redaction=redaction)
    _tell_repeated(sources)
    for line in report.notes:
        complain(line)
    write(f"{folder}: {report.records} records in {len(report.files)} files, {report.bytes} bytes")
    if redaction:
        write(f"{folder}: {redaction.report}")
    status = 1 if report.notes else status
    if not args.push:
        return status
    from pytest_agentcap.publish.derived import Export

    return max(status, publishing.push_export(Export(args.format, folder, report.files, sources), args))


def _finish(run: RunDirectory) -> int:
    """Bring in what a crash left of a run; return 1 when that cannot be done."""
    from pytest_agentcap.runs.recovery import recover

    try:
        recover(run, environment_secrets())
    except (ValueError, LookupError, OSError) as error:
        # What the other sessions captured is still worth its export.
        complain(f"{run.path}: what its session left open cannot be finished: {error!r}")
        return 1
    return 0


def _export_run(run: RunDirectory, args: argparse.Namespace, progress: publishing.Progress | None) -> int:
    """Write one run's parquet and say so; return 1 when it cannot be written, or a file of the run not be read."""
    from pytest_agentcap.publish.parquet import write_parquet

    into = args.output / f"{run.id}.parquet" if args.output else None
    told = None if progress is None else partial(progress, run.id)
    status = _finish(run)
    return max(status, _write(run.path, into, lambda: write_parquet(run, into, latest=args.latest, progress=told)))


def _export_file(path: Path, args: argparse.Namespace) -> int:
    """Write a captures parquet of any version as this one has them; return as `_export_run`."""
    from pytest_agentcap.publish.parquet_rows import convert_parquet

    into = args.output / path.name
    return _write(path, into, lambda: convert_parquet(path, into, latest=args.latest))


def _write(source: Path, into: Path | None, make: Callable[[], ParquetReport]) -> int:
    import pyarrow

    try:
        if into:
            into.parent.mkdir(parents=True, exist_ok=True)
        report = make()
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        complain(f"{source}: not exported: {error}")
        return 1
    for line in (*report.errors, *report.notes):
        complain(line)
    write(f"{report.path}: {report.rows} rows, {report.bytes} bytes, {len(report.errors)} errors")
    return 1 if report.errors else 0
