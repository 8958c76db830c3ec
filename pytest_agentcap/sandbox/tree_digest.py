"""What a tree of files is, as one number: the fixtures that agents find in their sandboxes."""

from __future__ import annotations

import hashlib
import stat
from functools import cache
from pathlib import Path


@cache
def tree_digest(folder: Path) -> str:
    """Return the SHA-256 of all paths, modes, times, links and contents of a tree, as of the first time it is asked.

    Each entry is its path and mode (`-rw-r--r--`), then a link's target, or a file's modification time in seconds and
    its content. Raises OSError for what cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda each: each.relative_to(folder).as_posix()):
        status = path.lstat()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{stat.filemode(status.st_mode)}\0".encode())
        if stat.S_ISLNK(status.st_mode):
            digest.update(str(path.readlink()).encode())
        elif stat.S_ISREG(status.st_mode):
            digest.update(f"{int(status.st_mtime)}\0".encode())
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        digest.update(b"\0\0")
    return digest.hexdigest()
