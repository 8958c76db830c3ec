"""`agentcap`: what can be done with finished runs; running them is pytest's."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_agentcap import __version__
from pytest_agentcap.commands import (
    agents,
    analyze,
    balance,
    calibrate,
    capture,
    compare,
    corpora,
    diff,
    export,
    extract,
    grade,
    images,
    inspect,
    ls,
    merge,
    plot,
    proxy,
    reissue,
    report,
    run,
    schemas,
    show,
    summarize,
    validate_refs,
    view,
)
from pytest_agentcap.commands import format as format_
from pytest_agentcap.commands.output import complain
from pytest_agentcap.envfile import load_env_file
from pytest_agentcap.sandbox.base import SandboxError

ON_RESULTS = (extract, grade, format_, summarize, compare, calibrate, validate_refs, balance, schemas, report, diff)
COMMANDS = (
    run,
    capture,
    ls,
    inspect,
    view,
    show,
    export,
    merge,
    *ON_RESULTS,
    analyze,
    plot,
    reissue,
    proxy,
    agents,
    images,
    corpora,
)
_BROKEN_PIPE = 141
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `agentcap` command and return its exit status: 0 done, 1 some of it failed, 2 it could not begin."""
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    env_file = None
    try:
        env_file = load_env_file(Path.cwd())
        status: int = args.command(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at exit; that too must find somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (ValueError, OSError, SandboxError) as error:
        complain(str(error))
        return 2
    finally:
        if env_file:
            env_file.forget()
    return status


def inspect_main() -> int:
    """Run `agentcap inspect` under agentcap's own name for it, `agentcap-inspect`."""
    return main(["inspect", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agentcap", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"agentcap {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
