"""Where commands write what they found out: files that are replaced as a whole, or are written row by row."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_agentcap.runs.layout import write_whole

_DEVICES = Path("/dev")


@dataclass(slots=True)
class Rows:
    """Write rows, each at once and whole; with the first one the new file takes the old one's place."""

    file: IO[bytes]
    partial: Path | None = None
    target: Path | None = None

    def write(self, line: str) -> None:
        self.file.write(f"{line}\n".encode("utf-8", "backslashreplace"))
        self.file.flush()
        self.settle()

    def settle(self) -> None:
        if self.partial is not None and self.target is not None:
            self.partial.replace(self.target)
            self.partial = None


def write_output(output: Path, data: bytes, mode: int = 0o644) -> None:
    """Write to a file whole or not at all, through a link, or to a pipe or device as it is."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if _is_stream(output):
        with output.open("wb") as stream:
            stream.write(data)
        return
    write_whole(_target(output), data, mode)


@contextmanager
def open_rows(output: Path | None, append: bool) -> Iterator[Rows]:
    """Open what rows are written to; a file without a row replaces an old one only when nothing failed."""
    if append and output is None:
        raise ValueError("--append: name the file with -o")
    if output is None:
        yield Rows(sys.stdout.buffer)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    if append or _is_stream(output):
        open_line = b"" if _is_stream(output) else _last_open_line(output)
        with output.open("ab") as file:
            file.write(b"\n" if open_line else b"")
            yield Rows(file)
        return
    target = _target(output)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    rows: Rows | None = None
    try:
        with partial.open("wb") as file:
            rows = Rows(file, partial, target)
            yield rows
        rows.settle()
    finally:
        if rows is not None and rows.partial is not None:
            partial.unlink()


def _is_stream(output: Path) -> bool:
    """Tell a pipe or a device, which must not be replaced, from a file; /dev/stdout may be either."""
    return _DEVICES in output.absolute().parents or (output.exists() and not output.is_file())


def _target(output: Path) -> Path:
    return output.resolve() if output.is_symlink() else output


def _last_open_line(path: Path) -> bytes:
    """Return the last line of a file if it has no end; raises ValueError for one that is no whole row either."""
    line = path.read_bytes().rpartition(b"\n")[2] if path.exists() else b""
    try:
        whole = not line or isinstance(json.loads(line), dict)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"{path}: its last line is cut off; repair it, or leave out --append")
    return line
