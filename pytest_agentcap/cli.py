"""`agentcap`: what can be done with finished runs; running them is pytest's."""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_agentcap import __version__
from pytest_agentcap.runs.captures import Capture, CaptureError, Half, read_half, read_head
from pytest_agentcap.runs.layout import RunDirectory, find_runs, workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_call, find_run, summarize_run, summarize_runs
from pytest_agentcap.runs.masking import environment_secrets
from pytest_agentcap.text import printable, reindent

_BROKEN_PIPE = 141
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `agentcap` command and return its exit status: 0 done, 1 some of it failed, 2 it could not begin."""
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = args.command(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at exit; that too must find somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (ValueError, OSError) as error:
        _complain(str(error))
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agentcap", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"agentcap {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = commands.add_parser("ls", help="list the runs of a workspace")
    listing.add_argument("workspace", nargs="?", help="default: $AGENTCAP_WORKSPACE, else the current directory")
    listing.add_argument("-l", "--long", action="store_true", help="show provider and upstream too")
    listing.add_argument("--json", action="store_true", help="print a JSON list")
    listing.set_defaults(command=_list)

    export = commands.add_parser("export", help="finish what a crash left and write captures.parquet")
    export.add_argument("targets", nargs="*", metavar="TARGET", help="a run id or a run directory")
    export.add_argument("--all", action="store_true", help="every run of the workspace that has captures")
    export.set_defaults(command=_export)

    show = commands.add_parser("show", help="show a run's calls, or one call")
    show.add_argument("target", metavar="TARGET", help="a run id, a run directory, or a rid or its first digits (4+)")
    show.add_argument("--request", action="store_true", help="only the request's body")
    show.add_argument("--response", action="store_true", help="only the response's body")
    style = show.add_mutually_exclusive_group()
    style.add_argument("--raw", action="store_true", help="bodies byte for byte, not laid out and not escaped")
    style.add_argument("--json", action="store_true", help="print the records as JSON")
    show.set_defaults(command=_show)

    agents = commands.add_parser("agents", help="list the agents that can be run")
    agents.add_argument("--json", action="store_true", help="print a JSON list")
    agents.set_defaults(command=_agents)
    return parser


def _list(args: argparse.Namespace) -> int:
    folder = workspace_folder(args.workspace)
    runs = list(summarize_runs(folder))
    for fault in (run.fault for run in runs if run.fault):
        _complain(fault)
    if args.json:
        _write_json([{**asdict(run), "path": str(run.path)} for run in runs])
    elif not folder.is_dir():
        _complain(f"no workspace at {folder}: pass a folder that holds {folder.name}/, or set AGENTCAP_WORKSPACE")
    elif not runs:
        _complain(f"no runs in {folder}")
    else:
        header = ["RUN_ID", "AGENT", "MODEL", "TASKS", "CAPTURES"]
        rows = []
        for run in runs:
            tasks = f"{run.tasks_ok}/{run.tasks}" + ("" if run.finished else "*")
            row = [run.run_id, run.agent, run.model and run.model.rpartition("/")[2], tasks, run.captures]
            rows.append([*row[:3], run.provider, *row[3:], run.upstream] if args.long else row)
        _write_table([*header[:3], "PROVIDER", *header[3:], "UPSTREAM"] if args.long else header, rows)
        if not all(run.finished for run in runs):
            _complain("* unfinished: still running, or ended before its session did")
    return 0


def _export(args: argparse.Namespace) -> int:
    if args.all == bool(args.targets):
        raise TargetError("export: name the runs, or pass --all")
    folder = workspace_folder()
    if args.all:
        runs = [run for run in find_runs(folder) if any(run.captures.iterdir())]
        if not runs:
            raise TargetError(f"no runs with captures in {folder}")
    else:
        runs = [_find_run(folder, target) for target in args.targets]
    return max([_export_run(run) for run in runs])


def _export_run(run: RunDirectory) -> int:
    """Write one run's parquet and say so; return 1 when it cannot be written."""
    import pyarrow

    from pytest_agentcap.publish.parquet import write_parquet
    from pytest_agentcap.runs.pairs import finish_journals

    status = 0
    try:
        finish_journals(run.captures, environment_secrets())
    except (ValueError, LookupError, OSError) as error:
        # What the other sessions captured is still worth its parquet.
        _complain(f"{run.path}: a journal cannot be finished: {error!r}")
        status = 1
    try:
        report = write_parquet(run)
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        _complain(f"{run.path}: not exported: {error}")
        return 1
    for line in report.errors:
        _complain(line)
    _write(f"{report.path}: {report.rows} rows, {report.bytes} bytes, {len(report.errors)} errors")
    return status


def _show(args: argparse.Namespace) -> int:
    folder = workspace_folder()
    run = find_run(folder, args.target)
    if run:
        if args.request or args.response or args.raw:
            raise TargetError(f"{args.target} is a run: --request, --response and --raw are for one call")
        return _show_run(run, args.json)
    capture = find_call(folder, args.target)
    if capture is None:
        raise TargetError(f"{args.target} is neither a run nor the first 4 or more digits of a call in {folder}")
    halves = [name for name in ("request", "response") if getattr(args, name)] or ["request", "response"]
    if args.json:
        _show_records(capture, halves)
    else:
        _show_call(capture, halves, chosen=args.request or args.response, raw=args.raw)
    return 0


def _show_run(run: RunDirectory, as_json: bool) -> int:
    from pytest_agentcap.runs.order import order_calls, results_by_session

    results, errors = results_by_session(run)
    order = order_calls(run, results)
    calls = [_describe_call(run, rid) for rid in order.rids]
    for line in (*errors, *order.errors):
        _complain(line)
    if as_json:
        _write_json(calls)
    else:
        names = ("task_id", "turn", "call_index", "api", "status_code", "duration_ms")
        rows = [
            [*(call[name] for name in names), call["prompt_tokens"], call["completion_tokens"], call["request_id"][:8]]
            for call in calls
        ]
        _write_table(["TASK", "TURN", "CALL", "API", "STATUS", "MS", "PROMPT", "COMPLETION", "RID"], rows)
        if not summarize_run(run).finished:
            _complain(f"the run is unfinished: `agentcap export {run.id}` brings in what a crash left behind")
    return 0


def _describe_call(run: RunDirectory, rid: str) -> dict[str, Any]:
    from pytest_agentcap.conversation.usage import usage_of

    request = read_head(run.captures / f"{rid}.request.json")
    path = run.captures / f"{rid}.response.json"
    response, error = None, None
    try:
        response = read_half(path) if path.exists() else None
    except CaptureError:
        error = "unreadable_response"
    head = response.head if response else {}
    usage = usage_of(request.get("api", "chat"), response)
    names = ("task_id", "trial", "attempt", "turn", "call_index", "api")
    return {
        "request_id": rid,
        **{name: request.get(name) for name in names},
        **{name: head.get(name) for name in ("status_code", "complete", "duration_ms")},
        "error": error or head.get("error"),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }


def _show_records(capture: Capture, halves: list[str]) -> None:
    """Print the files of a call as one JSON document, or one of them alone."""
    records = {}
    for name in halves:
        path = capture.folder / f"{capture.rid}.{name}.json"
        records[name] = path.read_text("utf-8", "backslashreplace") if path.exists() else "null"
    members = ",".join(f'"{name}":{text}' for name, text in records.items())
    _write(reindent(records[halves[0]] if len(halves) == 1 else f"{{{members}}}"))


def _show_call(capture: Capture, halves: list[str], chosen: bool, raw: bool) -> None:
    for name in halves:
        half = capture.request if name == "request" else capture.response
        if half is None:
            if chosen:
                raise TargetError(f"{capture.rid} has no response")
            _write("(no response)")
        elif raw:
            sys.stdout.flush()
            sys.stdout.buffer.write(_wire_bytes(half))
        else:
            if not chosen:
                _write_head(half)
            _write(json.loads(half.text) if half.key == "raw" else reindent(half.text.decode("utf-8", "replace")))


def _write_head(half: Half) -> None:
    for key, value in half.head.items():
        if key not in ("body_bytes", "body_base64", "raw_base64"):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            _write(f"{key}: {text}".replace("\n", "\\n"))
    _write("")


def _wire_bytes(half: Half) -> bytes:
    """Return a body as it was on the wire, content encodings undone."""
    encoded = half.head.get(f"{half.key}_base64")
    if encoded is not None:
        return base64.b64decode(encoded)
    return str(json.loads(half.text)).encode("utf-8", "surrogatepass") if half.key == "raw" else half.text


def _agents(args: argparse.Namespace) -> int:
    from pytest_agentcap.agents.find import find_agents

    agents = find_agents(Path.cwd())
    if args.json:
        _write_json([{name: getattr(a, name) for name in ("name", "version", "api", "description")} for a in agents])
    else:
        _write_table(
            ["NAME", "VERSION", "API", "DESCRIPTION"], [[a.name, a.version, a.api, a.description] for a in agents]
        )
    return 0


def _find_run(folder: Path, target: str) -> RunDirectory:
    run = find_run(folder, target)
    if run is None:
        raise TargetError(f"{target} is neither a run in {folder} nor a run directory")
    return run


def _write_table(header: list[str], rows: Iterable[list[Any]]) -> None:
    cells = [header, *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        _write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return printable(f"{value:.0f}" if isinstance(value, float) else str(value)).replace("\n", " ").replace("\t", " ")


def _write_json(document: Any) -> None:
    _write(json.dumps(document, indent=2))


def _write(text: str) -> None:
    print(printable(text))


def _complain(line: str) -> None:
    print(f"agentcap: {printable(line)}", file=sys.stderr)
