"""A folder of tools: where its programs are, and at which paths a container has it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pytest_agentcap.sandbox.base import SandboxError

SET_UP = "tool_init.sh"

_HEAD = 1024
# A folder of tools must not cover these, and below the second ones an agent would not find it.
_HELD = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/usr/lib", "/etc", "/tmp", "/var/lib", "/opt")
_CLOSED = ("/dev", "/proc", "/sys", "/run", "/root")


def tool_folders(folder: Path) -> list[str]:
    """Return where programs are looked for, relative to the folder: its `bin`, those of the folders in it, itself."""
    inner = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/bin") if path.is_dir())
    return [*(["bin"] if (folder / "bin").is_dir() else []), *inner, "."]


def tool_environment(folder: Path, shown: str, path: str) -> dict[str, str]:
    """Return the variables that lead to a folder which the agent sees as `shown`; `path` is PATH without it."""
    places = (str(PurePosixPath(shown, each)) for each in tool_folders(folder))
    return {
        "AGENTCAP_TOOL_DIR": shown,
        "AGENTCAP_TOOL_BIN": f"{shown}/bin",
        "PATH": os.pathsep.join([*places, path]),
    }


def place_of_its_own(folder: Path, taken: Iterable[str]) -> str | None:
    """Return the path at which a container has to have the folder too, for programs that begin with it, or None.

    The scripts of a Python environment do: their `#!` line, or the line after it, names its interpreter in full.
    `taken` are paths that the container has for itself. Raises SandboxError when the folder's path is one of them.
    """
    if not any(os.fsencode(f"{folder}/") in head for head in _heads(folder)):
        return None
    closed = [PurePosixPath(each) for each in (*_CLOSED, *taken)]
    covered = [each for each in (*closed, *map(PurePosixPath, _HELD)) if each.is_relative_to(folder)]
    if covered or any(folder.is_relative_to(each) for each in closed):
        raise SandboxError(
            f"--tool-dir {folder}: its programs begin with this path, which is another place in a container: "
            "make them in a folder elsewhere"
        )
    return str(folder)


def _heads(folder: Path) -> Iterator[bytes]:
    """Yield how each script begins."""
    for place in tool_folders(folder):
        for path in sorted((folder / place).iterdir()):
            if path.is_file() and os.access(path, os.R_OK | os.X_OK):
                with path.open("rb") as file:
                    head = file.read(_HEAD)
                if head.startswith(b"#!"):
                    yield b"\n".join(head.split(b"\n", 2)[:2])
