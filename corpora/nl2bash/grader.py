"""Compare what the task asked to print and to leave behind with what the gold command printed and left."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

OUTPUT = "output.txt"
_MAX_BYTES = 1 << 20


def grade(*, metadata: dict[str, Any], cwd: str, **_: Any) -> dict[str, Any]:
    """Score the output and each file of the expected state alike."""
    folder = Path(cwd)
    checks = {name: digest_of(folder / name) == digest for name, digest in metadata["state"].items()}
    if metadata["stdout"] is not None:
        found = read_text(folder / OUTPUT)
        checks[OUTPUT] = found is not None and same(metadata["stdout"], found, ordered=metadata["ordered"])
    wrong = [name for name, right in checks.items() if not right]
    missing = [name for name in wrong if not (folder / name).exists()]
    reasons = [f"{name} {'is missing' if name in missing else 'is not as expected'}" for name in wrong]
    score = sum(checks.values()) / len(checks)
    return {"pass": not wrong, "score": score, "reasoning": "; ".join(reasons) or "as expected", "outcome": checks}


def same(expected: str, found: str, *, ordered: bool) -> bool:
    """Compare lines; blanks at their ends do not count, nor does their order where the task leaves it open."""
    lines = [[line.rstrip() for line in text.strip().splitlines()] for text in (expected, found)]
    return lines[0] == lines[1] if ordered else sorted(lines[0]) == sorted(lines[1])


def digest_of(path: Path) -> str | None:
    """Return a regular file's digest, its execute bit included; None for anything else."""
    data = read_bytes(path)
    if data is None:
        return None
    return hashlib.sha256(data + (b"x" if os.access(path, os.X_OK) else b"-")).hexdigest()[:16]


def read_text(path: Path) -> str | None:
    data = read_bytes(path)
    return None if data is None else data.decode("utf-8", "replace")


def read_bytes(path: Path) -> bytes | None:
    """Read a regular file of moderate size; an agent may have put anything in its place."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
        return None
    return path.read_bytes()
