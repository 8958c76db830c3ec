"""What the commands on finished results share: where their output goes, and how faults are told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_agentcap.commands.output import complain
from pytest_agentcap.commands.rows import write_output
from pytest_agentcap.text import printable

if TYPE_CHECKING:
    from pytest_agentcap.analysis.regrade import Grading
    from pytest_agentcap.conversation.sources import Faults

SOURCES = "a JSONL file, a run, a captures parquet, hf://datasets/OWNER/NAME, or - for standard input"


def add_output(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there (default: standard output)")


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="?", default="-", metavar="RESULTS", help=f"{SOURCES} (default)")
    parser.add_argument("--progress", action="store_true", help="say on standard error how far it is")


def emit(text: str, output: Path | None) -> None:
    """Write to a file or pipe, or to standard output; for a terminal it is made safe."""
    if output is not None:
        write_output(output, text.encode("utf-8", "backslashreplace"))
        return
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    if text and not text.endswith("\n"):
        sys.stdout.write("\n")


def row_line(row: Any) -> str:
    """Write a row as one line of JSON, without the line's end."""
    from msgspec import to_builtins

    from pytest_agentcap.formats.lines import json_line

    return json_line("", to_builtins(row)).data.decode().removesuffix("\n")


def open_graders(values: Sequence[str]) -> Grading:
    """Load what `-g` names, and the judge that the environment names; raises ValueError for what cannot be used."""
    from pytest_agentcap.analysis.regrade import load_grading
    from pytest_agentcap.judging import judge_of_environment

    return load_grading(values, judge_of_environment)


def tell_faults(faults: Faults) -> int:
    """Complain of what could not be read; return 1 when there is something."""
    for line in faults.lines:
        complain(line)
    return 1 if faults.lines else 0


def note(line: str) -> None:
    """Tell progress on standard error, as agent-eval-harness does."""
    print(printable(line), file=sys.stderr)


def count(text: str) -> int:
    """Read a number of things from an option."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value
