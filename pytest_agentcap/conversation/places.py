"""Where captures parquets lie: files, folders, and the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HUB = "hf://"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def open_parquets(source: str | Path) -> Iterator[Any]:
    """Open the parquet files of a file, a folder, `hf://datasets/OWNER/NAME[@REVISION][/PATH]` or `OWNER/NAME`.

    Raises ValueError when there are none.
    """
    place = str(source)
    path = Path(place)
    if not place.startswith(HUB) and path.exists():
        found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{source}: neither a run directory nor a folder with parquet files")
        yield from (file.open("rb") for file in found)
    elif place.startswith(HUB) or _REPOSITORY.fullmatch(place):
        yield from _open_on_the_hub(place)
    else:
        raise ValueError(f"{source}: no run, no file, and neither hf://datasets/OWNER/NAME nor OWNER/NAME")


def _open_on_the_hub(place: str) -> Iterator[Any]:
    from huggingface_hub import HfFileSystem

    files = HfFileSystem()
    root = place.removeprefix(HUB).rstrip("/")
    if not root.startswith(("datasets/", "buckets/")):
        root = f"datasets/{root}"
    found = [root] if root.endswith(".parquet") else sorted(files.glob(f"{root}/**/*.parquet"))
    if not found:
        raise ValueError(f"{place}: no parquet files there")
    for path in found:
        yield files.open(path, "rb")
