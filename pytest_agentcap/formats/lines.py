"""Files of an export: each is there as a whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.names import safe_name


@dataclass(frozen=True, slots=True)
class Line:
    """Hold a piece of a file, most often one line of JSON; `file` is its path below the export's folder.

    `records` is how many records it adds to the export: none when it tells again what other pieces tell.
    """

    file: str
    data: bytes
    records: int = 1


@dataclass(slots=True)
class ExportReport:
    """Tell what an export wrote, and in `notes` what it left out and why."""

    files: list[Path] = field(default_factory=list)
    records: int = 0
    bytes: int = 0
    notes: list[str] = field(default_factory=list)


def json_line(file: str, record: Any) -> Line:
    """Encode a record as one line; what UTF-8 cannot hold, half a surrogate pair, is escaped."""
    try:
        data = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        data = json.dumps(record, separators=(",", ":")).encode()
    return Line(file, data + b"\n")


def file_name(*parts: str) -> str:
    """Join parts that agents and corpora may have named to a safe relative path; the last one ends the name."""
    *folders, name, suffix = parts
    return "/".join([*map(safe_name, folders), safe_name(name) + suffix])


def write_lines(folder: Path, lines: Iterable[Line]) -> ExportReport:
    """Write lines that come file by file.

    Raises ValueError when a file comes up twice: two of the exported sources hold the same session.
    """
    report = ExportReport()
    written: set[str] = set()
    for file, pieces in groupby(lines, key=lambda line: line.file):
        path = folder / file
        if file in written:
            raise ValueError(f"{path} would be written twice: two targets hold the same run")
        written.add(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        records, size = _write(path, pieces)
        report.files.append(path)
        report.records += records
        report.bytes += size
    return report


def _write(path: Path, pieces: Iterator[Line]) -> tuple[int, int]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    temporary = Path(name)
    records = size = 0
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                records += piece.records
                size += file.write(piece.data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return records, size
