"""Captures parquets, wherever they are: on this machine or on the Hub."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

HUB = "hf://"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
# Every piece of a file on the Hub is a request.
_PIECE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CapturesFile:
    """Name a parquet file; `open` reads from it what is asked for and no more, on the Hub by range requests.

    `raises` is what reading it may raise beside OSError.
    """

    name: str
    open: Callable[[], IO[bytes]]
    raises: tuple[type[Exception], ...] = ()


def is_repository(place: str) -> bool:
    """Tell whether a text is spelled as `OWNER/NAME`."""
    return _REPOSITORY.fullmatch(place) is not None


def find_files(source: str | Path, suffix: str = ".parquet") -> list[CapturesFile]:
    """Return the files with a suffix of a file, a folder, `hf://datasets/OWNER/NAME[@REVISION][/PATH]` or `OWNER/NAME`.

    Raises ValueError naming the source when it is none of these or has none, OSError when the Hub cannot be read.
    """
    place = str(source)
    path = Path(place).expanduser()
    if not place.startswith(HUB) and path.exists():
        found = sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{source}: neither a run directory nor a folder with {suffix.removeprefix('.')} files")
        return [CapturesFile(str(file), partial(_open_local, file)) for file in found]
    if place.startswith(HUB) or is_repository(place):
        return _find_on_the_hub(place, suffix)
    raise ValueError(f"{source}: no run, no file, and neither hf://datasets/OWNER/NAME nor OWNER/NAME")


def local_copy(file: CapturesFile, folder: Path) -> Path:
    """Return the path of a file on this machine; one on the Hub is copied into a folder, below its own path.

    Raises OSError naming the file when the Hub cannot be read.
    """
    if not file.name.startswith(HUB):
        return Path(file.name)
    copy = folder / file.name.removeprefix(HUB)
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open() as opened, copy.open("wb") as into:
            shutil.copyfileobj(opened, into, _PIECE_BYTES)
    except file.raises as error:
        raise OSError(f"{file.name}: {error}") from error
    return copy


def open_captures(path: str | Path, opened: Any = None, *, buffer_size: int = 0) -> Any:
    """Open a captures parquet, or `opened` in its place, as a pyarrow ParquetFile.

    Raises ValueError naming the file when it is no captures parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path if opened is None else opened, buffer_size=buffer_size)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a parquet file: {error}") from error
    for name in ("request_id", "request", "response"):
        if name not in file.schema_arrow.names:
            raise ValueError(f"{path}: not a captures parquet: it has no column {name}")
    return file


def hub_errors() -> tuple[type[Exception], ...]:
    """Return what asking the Hub raises, beside OSError, when it refuses, breaks off or cannot be reached.

    Its client leaves that to an HTTP library, which is not the same one in all versions.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception) and base is not OSError)


def _open_local(path: Path) -> IO[bytes]:
    return path.open("rb")


def _find_on_the_hub(place: str, suffix: str) -> list[CapturesFile]:
    from huggingface_hub import HfFileSystem

    raises: tuple[type[Exception], ...] = (*hub_errors(), OSError)
    files = HfFileSystem()
    root = place.removeprefix(HUB).rstrip("/")
    if not root.startswith(("datasets/", "buckets/")):
        root = f"datasets/{root}"
    try:
        found = [root] if root.endswith(suffix) else sorted(files.glob(f"{root}/**/*{suffix}"))
    except raises as error:
        raise OSError(f"{place}: {error}") from error
    if not found:
        raise ValueError(f"{place}: no {suffix.removeprefix('.')} files there")

    def opener(path: str) -> Callable[[], IO[bytes]]:
        # fsspec reads ahead by megabytes; parquet readers know what they want.
        opened: Any = partial(files.open, path, "rb", cache_type="none")
        return opened  # type: ignore[no-any-return]

    return [CapturesFile(f"{HUB}{path}", opener(path), raises) for path in found]
