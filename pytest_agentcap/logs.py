"""What is kept of an agent's output: all of it up to a size, beyond that its beginning and its end."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_agentcap.runs.layout import write_whole
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.sandbox.limits import size_in_bytes

KEPT_OF_AN_END = 16 << 20
# A secret that lies across the cut is found in what is read beyond it.
_MARGIN = 1 << 16


class OutputLimit(Exception):
    """Say in words that an agent's output has grown beyond what a sandbox may write."""


def check_output(limit: str, *paths: Path) -> None:
    """Raise OutputLimit when files that an agent's output goes to have more than `limit`, such as `10g`."""
    written = sum(path.stat().st_size for path in paths if path.exists())
    if written > size_in_bytes(limit):
        raise OutputLimit(f"the disk limit of {limit} was exceeded: the output has {written:,} bytes")


def keep_output(path: Path, mask: Mask) -> str:
    """Mask secrets in an output file, cut a long one down, and return the end of it: 16 MiB at most.

    More than 32 MiB become the first and the last 16 MiB, and a line between them that says how much is left out.
    """
    size = path.stat().st_size
    if size <= 2 * KEPT_OF_AN_END:
        masked, hits = mask.apply(path.read_bytes())
        if hits:
            write_whole(path, masked)
        return masked[-KEPT_OF_AN_END:].decode("utf-8", "replace")
    with path.open("rb") as file:
        head = mask.apply(file.read(KEPT_OF_AN_END + _MARGIN))[0][:KEPT_OF_AN_END]
        file.seek(-KEPT_OF_AN_END - _MARGIN, os.SEEK_END)
        tail = mask.apply(file.read())[0][-KEPT_OF_AN_END:]
    note = f"\n[agentcap: {size - len(head) - len(tail):,} bytes are left out here]\n".encode()
    write_whole(path, head + note + tail)
    return tail.decode("utf-8", "replace")
