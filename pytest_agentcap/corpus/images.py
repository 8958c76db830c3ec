"""The images that a task carries: files of its corpus, seen to be images before anything is run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_agentcap.corpus.source import Source

# The smallest limit among the APIs' own, the messages API's.
MAX_IMAGE_BYTES = 5 << 20

_HEAD_BYTES = 12


@dataclass(frozen=True, slots=True)
class TaskImage:
    """Name an image as the corpus does, and say where it lies and what is in it; `sha256` is in hex."""

    name: str
    path: Path
    media_type: str
    sha256: str

    @property
    def facts(self) -> dict[str, str]:
        """Return what a result says of it."""
        return {"path": self.name, "media_type": self.media_type, "sha256": self.sha256}

    def read(self) -> bytes:
        """Return its bytes. Raises OSError, and ValueError when they are others than they were."""
        data = self.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.path} has changed since the corpus was read: run it again")
        return data


def find_images(source: Source, line: int, folder: Path, names: Iterable[str]) -> Iterator[TaskImage]:
    """Yield the images of a task whose corpus lies in `folder`. Raises CorpusError for one that cannot be sent."""
    for name in names:
        path = folder / name
        if "\0" in name or not path.is_file():
            raise source.error(line, f"there is no image {name!r}", "write its path from the corpus's folder on")
        if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
            raise source.error(line, f"the image {name!r} is outside of the corpus's folder", "copy it there")
        size = path.stat().st_size
        if size > MAX_IMAGE_BYTES:
            problem = f"the image {name!r} has {size} bytes, more than {MAX_IMAGE_BYTES} (5 MiB)"
            raise source.error(line, problem, "make it smaller")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise source.error(
                line, f"the image {name!r} cannot be read ({error.strerror})", "make it readable"
            ) from None
        kind = _media_type(data[:_HEAD_BYTES])
        if kind is None:
            raise source.error(line, f"{name!r} is no image", "use a PNG, JPEG, GIF or WebP file")
        yield TaskImage(name, path.absolute(), kind, hashlib.sha256(data).hexdigest())


def _media_type(head: bytes) -> str | None:
    """Tell a format that models take by its first bytes: a file's name says nothing of what is in it."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if head.startswith(b"RIFF") and head[8:12] == b"WEBP" else None
