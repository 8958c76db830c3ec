"""What an agent leaves in its sandbox: the file with its reply, its session's name, its own log."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.sandbox.base import Command, SandboxSession

_WILD = re.compile(r"[*?\[]")


def copy_matching(box: SandboxSession, pattern: str, scratch: Path) -> tuple[list[Path], Sequence[str]]:
    """Copy what matches a glob of the sandbox to a new folder below `scratch`, by name; and tell what was left out.

    The folder that the glob names before its first wildcard is copied as a whole: nothing of the agent's is run.
    """
    parts = PurePosixPath(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
    root, rest = PurePosixPath(*parts[:fixed]), "/".join(parts[fixed:])
    place = Path(tempfile.mkdtemp(dir=scratch))
    left_out = box.copy_out(str(root), place)
    return sorted(place.glob(rest)), left_out


def read_file(box: SandboxSession, path: str, scratch: Path, most: int) -> str:
    """Return the last `most` bytes of a file of the sandbox as text; nothing when it is not there."""
    found, _ = copy_matching(box, path, scratch)
    return found[-1].read_bytes()[-most:].decode("utf-8", "replace") if found and found[-1].is_file() else ""


def last_name(box: SandboxSession, pattern: str, scratch: Path, earlier: set[tuple[str, str]]) -> str | None:
    """Return the name, without its ending, of the last file or folder by name that matches a glob.

    Names among `earlier` are another session's; those that are found now join them.
    """
    found, _ = copy_matching(box, pattern, scratch)
    names = [path.stem for path in found if (pattern, path.stem) not in earlier]
    earlier.update((pattern, name) for name in names)
    return names[-1] if names else None


def keep_trace(
    box: SandboxSession, patterns: Sequence[str], into: Path, scratch: Path, mask: Mask, earlier: set[tuple[str, str]]
) -> list[str]:
    """Copy the agent's own log to a folder, without secrets; return what was left out, a line each.

    The folder is made only when there is a log. Files among `earlier`, by path and digest, are another session's; those
    that are found now join them.
    """
    notes: list[str] = []
    for pattern in patterns:
        found, left_out = copy_matching(box, pattern, scratch)
        notes += left_out
        for path in found:
            for file in [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]:
                data = file.read_bytes()
                seen = str(file.relative_to(path.parent)), hashlib.sha256(data).hexdigest()
                if seen in earlier:
                    continue
                earlier.add(seen)
                target = into / seen[0]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(mask.apply(data)[0])
    return notes


def export_trace(box: SandboxSession, command: Command, into: Path, mask: Mask) -> list[str]:
    """Let the agent print its own log of the session, and keep that as `into` when it could; return what went wrong."""
    errors = command.stderr
    completed = box.run(command, lambda: None)
    told = command.stdout.read_bytes()
    if completed.exit_code != 0 or not told.strip():
        said = errors.read_text("utf-8", "replace").strip().split("\n")[-1]
        ended = "took too long" if completed.timed_out else f"ended with {completed.exit_code}"
        return [f"no trace: {command.argv[0]} {ended}: {mask.apply(said.encode())[0].decode('utf-8', 'replace')}"]
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_bytes(mask.apply(told)[0])
    return []
