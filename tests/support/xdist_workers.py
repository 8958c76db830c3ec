"""Which processes are workers of pytest-xdist."""

from __future__ import annotations

from pathlib import Path

import psutil

# What execnet starts Python with; the worker's program comes on standard input.
_COMMAND = "import sys;exec(eval(sys.stdin.readline()))"


def is_worker(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process is a worker that runs in this folder."""
    try:
        return _COMMAND in process.cmdline() and process.cwd() == str(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
