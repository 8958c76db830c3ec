"""`agentcap view`: runs as one HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write
from pytest_agentcap.commands.rows import write_output

_TARGETS = (
    "a run id or directory, a workspace, a captures parquet or a folder with some, hf://datasets/OWNER/NAME or "
    "OWNER/NAME on the Hub; several are shown together"
)


def add(commands: Commands) -> None:
    parser = commands.add_parser("view", help="make one HTML page of runs, to look at in a browser")
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=_TARGETS)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page (default: view.html)")
    parser.add_argument("--serve", action="store_true", help="serve the page on loopback instead of writing it")
    parser.add_argument("--port", type=int, metavar="N", help="the port of --serve; default: any")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    if args.serve and args.output:
        raise ValueError("view: pass --serve or -o, not both")
    if args.port is not None and not args.serve:
        raise ValueError("view: --port goes with --serve")
    from pytest_agentcap.view.build import build_page

    page = build_page(args.targets)
    for line in page.faults:
        complain(line)
    told = f"{page.sessions} sessions, {page.calls} calls, {len(page.html):,} bytes for {page.raw_bytes:,} of bodies"
    if args.serve:
        _serve(page.html, args.port or 0, told)
    else:
        _save(page.html, args.output or Path("view.html"), told)
    return 1 if page.faults else 0


def _save(html: bytes, path: Path, told: str) -> None:
    # Captures are private: prompts, code, whatever an agent read.
    write_output(path, html, 0o600)
    write(f"{path}: {told}; open it in a browser")


def _serve(html: bytes, port: int, told: str) -> None:
    from pytest_agentcap.view.serve import PageServer

    server = PageServer(html, port)
    write(f"{told}\n{server.url}\nserved to this machine alone until Ctrl-C")
    # Whoever reads the address from a pipe waits for it.
    sys.stdout.flush()
    try:
        server.serve()
    except KeyboardInterrupt:
        return
