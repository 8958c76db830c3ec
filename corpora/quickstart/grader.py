"""Grade the quickstart tasks by the files an agent left, as each task's metadata describes them.

Nothing of the workspace is imported or executed. Harmless differences pass: line endings, spaces at line ends, blank
lines at the end of a file, the formatting of JSON, the quoting of CSV.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 1 << 20


class Mismatch(Exception):
    """Say how a file differs from what the task asks for."""


def grade(
    *, input: str | list[str], output: str, hint: str | None, metadata: dict[str, Any], cwd: str
) -> dict[str, Any]:
    """Return pass, score (the share of fulfilled checks) and reasoning (each check that failed)."""
    root = Path(cwd).resolve()
    checks: list[tuple[str, Callable[[Path, Any], None], Any]] = []
    for name, names in metadata.get("folders", {}).items():
        checks.append((name, check_folder, names))
    for name, kinds in metadata["files"].items():
        for kind, wanted in kinds.items():
            checks.append((name, FILE_CHECKS[kind], wanted))
    faults = []
    for name, check, wanted in checks:
        try:
            check(inside(root, name), wanted)
        except Mismatch as fault:
            faults.append(f"{name} {fault}")
        except OSError as error:
            faults.append(f"{name} cannot be read ({error.strerror})")
    reasoning = "; ".join(faults) if faults else f"all {len(checks)} checks passed"
    return {"pass": not faults, "score": 1 - len(faults) / len(checks), "reasoning": reasoning}


def inside(root: Path, name: str) -> Path:
    """Return the path of a file or folder that exists, and that no link on the way leads out of the workspace."""
    path = root
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink():
            raise Mismatch("is a link, or lies behind one")
    if not path.exists():
        raise Mismatch("is missing")
    return path


def check_folder(path: Path, names: list[str]) -> None:
    if not path.is_dir():
        raise Mismatch("is not a folder")
    found = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if found != sorted(names):
        raise Mismatch(f"holds {', '.join(found) or 'nothing'}")


def read(path: Path) -> bytes:
    if not path.is_file():
        raise Mismatch("is not a regular file")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise Mismatch(f"has more than {MAX_FILE_BYTES} bytes")
    return content


def text_of(path: Path) -> str:
    try:
        return read(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Mismatch("is not UTF-8") from None


def lines_of(path: Path) -> list[str]:
    lines = [line.rstrip() for line in text_of(path).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def check_bytes(path: Path, wanted: int) -> None:
    size = len(read(path))
    if size != wanted:
        raise Mismatch(f"has {size} bytes instead of {wanted}")


def check_lines(path: Path, wanted: list[str]) -> None:
    lines = lines_of(path)
    for number, (line, expected) in enumerate(zip(lines, wanted, strict=False), start=1):
        if line != expected:
            raise Mismatch(f"has {line[:80]!r} on line {number} instead of {expected[:80]!r}")
    if len(lines) != len(wanted):
        raise Mismatch(f"has {len(lines)} lines instead of {len(wanted)}")


def check_lines_sha256(path: Path, wanted: str) -> None:
    lines = lines_of(path)
    if hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest() != wanted:
        raise Mismatch(f"has other text than asked for ({len(lines)} lines)")


def check_json(path: Path, wanted: Any) -> None:
    try:
        found = json.loads(text_of(path))
    except (ValueError, RecursionError):
        raise Mismatch("is not JSON") from None
    if not same_json(found, wanted):
        raise Mismatch(f"holds other values than asked for: {json.dumps(found)[:200]}")


def same_json(found: Any, wanted: Any) -> bool:
    # Python calls True equal to 1; JSON does not.
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same_json(found[key], wanted[key]) for key in wanted)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same_json, found, wanted))
    return bool(found == wanted)


def check_csv(path: Path, wanted: list[list[str]]) -> None:
    try:
        rows = list(csv.reader(lines_of(path), strict=True))
    except csv.Error as error:
        raise Mismatch(f"is not CSV ({error})") from None
    for number, (row, expected) in enumerate(zip(rows, wanted, strict=False), start=1):
        if row != expected:
            raise Mismatch(f"has the values {row} in row {number} instead of {expected}")
    if len(rows) != len(wanted):
        raise Mismatch(f"has {len(rows)} rows instead of {len(wanted)}")


def check_python(path: Path, wanted: list[str]) -> None:
    try:
        module = ast.parse(read(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Mismatch("is not a Python module") from None
    defined = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    missing = [name for name in wanted if name not in defined]
    if missing:
        raise Mismatch(f"defines no function {', '.join(missing)}")


def check_matches(path: Path, wanted: list[str]) -> None:
    text = text_of(path)
    for pattern in wanted:
        if not re.search(pattern, text, re.MULTILINE):
            raise Mismatch(f"has nothing that matches {pattern}")


FILE_CHECKS: Mapping[str, Callable[[Path, Any], None]] = {
    "bytes": check_bytes,
    "lines": check_lines,
    "lines_sha256": check_lines_sha256,
    "json": check_json,
    "csv": check_csv,
    "python": check_python,
    "matches": check_matches,
}
