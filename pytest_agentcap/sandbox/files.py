"""Folders and locks of ours on the host."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def remove_tree(folder: Path) -> None:
    """Remove a folder whatever an agent left in it: read-only folders, links (never followed), files still being made.

    Does nothing when it is not there. Raises OSError when something cannot be removed.
    """
    for attempt in range(5):
        if not folder.exists():
            return
        try:
            _open_up(folder)
            shutil.rmtree(folder)
        except OSError:
            if attempt == 4:
                raise
            time.sleep(0.1)


def _open_up(folder: Path) -> None:
    folder.chmod(0o700)
    for above, names, _ in os.walk(folder):
        for name in names:
            path = Path(above, name)
            if not path.is_symlink():
                path.chmod(0o700)


def special_files(folder: str, names: list[str]) -> list[str]:
    """Return which of a folder's entries shutil.copytree is to leave out: devices, pipes and sockets."""
    paths = [(name, Path(folder, name)) for name in names]
    return [name for name, path in paths if not (path.is_symlink() or path.is_dir() or path.is_file())]


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock between processes; the kernel lets go of it when its holder dies.

    Yields whether the lock is held: always True with `wait`, False when somebody else has it and `wait` is off.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
