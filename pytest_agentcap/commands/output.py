"""What commands print: everything through one escape, complaints on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from pytest_agentcap.text import printable


def write_table(header: list[str], rows: Iterable[list[Any]]) -> None:
    cells = [header, *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return printable(f"{value:.0f}" if isinstance(value, float) else str(value)).replace("\n", " ").replace("\t", " ")


def write_json(document: Any) -> None:
    write(json.dumps(document, indent=2))


def write(text: str) -> None:
    print(printable(text))


def complain(line: str) -> None:
    print(f"agentcap: {printable(line)}", file=sys.stderr)
