"""Reading captures back: heads first, bodies only when asked for, as the text that was on the wire."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.layout import RunDirectory

# A request id is the first key and body_bytes the second: nothing that a body or header holds can come before them.
_SIZED = re.compile(rb'\{"request_id":"[0-9a-f]{32}","body_bytes":(\d+),')
_HEAD_GUESS = 16_384
_RID = re.compile(r"[0-9a-f]{32}")


class CaptureError(ValueError):
    """Say which capture file cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class Half:
    """One file of a pair: `head` without the body, and the body's JSON text under its `key` (`body` or `raw`)."""

    head: dict[str, Any]
    key: str
    text: bytes


def wire_bytes(half: Half) -> bytes:
    """Return a body as it was on the wire, content encodings undone."""
    encoded = half.head.get(f"{half.key}_base64")
    if encoded is not None:
        return base64.b64decode(encoded)
    stream = json.loads(half.text) if half.key == "raw" else None
    return stream.encode("utf-8", "surrogatepass") if isinstance(stream, str) else half.text


@dataclass(frozen=True)
class Capture:
    """One call on disk; `response` is None when there is no response file."""

    rid: str
    folder: Path

    @cached_property
    def request(self) -> Half:
        return read_half(self.folder / f"{self.rid}.request.json")

    @cached_property
    def response(self) -> Half | None:
        path = self.folder / f"{self.rid}.response.json"
        return read_half(path) if path.exists() else None


def read_half(path: Path) -> Half:
    """Read one file of a pair, agentcap's own (indented, without sizes) included.

    Raises CaptureError naming the file.
    """
    data = path.read_bytes()
    sized = _SIZED.match(data)
    try:
        if not sized:
            return _read_unsized(data)
        end = data.rindex(b"}")
        start = end - int(sized[1])
        head = json.loads(data[:start] + b"null}")
        key = _body_key(head)
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path}: not a capture file: {error}") from error
    head.pop(key)
    return Half(head, key, data[start:end])


def read_head(path: Path) -> dict[str, Any]:
    """Read what stands before the body, and of a long body nothing.

    Raises CaptureError naming the file.
    """
    with path.open("rb") as file:
        data = file.read(_HEAD_GUESS)
        sized = _SIZED.match(data)
        if not sized:
            return read_half(path).head
        start = os.fstat(file.fileno()).st_size - len(b"}\n") - int(sized[1])
        data += file.read(max(0, start - len(data)))
    try:
        head: dict[str, Any] = json.loads(data[:start] + b"null}")
        head.pop(_body_key(head))
    except ValueError as error:
        raise CaptureError(f"{path}: not a capture file: {error}") from error
    return head


def _read_unsized(data: bytes) -> Half:
    head = json.loads(data)
    key = _body_key(head)
    return Half({k: v for k, v in head.items() if k != key}, key, json.dumps(head[key]).encode())


def _body_key(head: Any) -> str:
    """Return the key that holds the body; a file without one, cut or foreign, is a ValueError."""
    if isinstance(head, dict):
        for key in ("raw", "body"):
            if key in head:
                return key
    raise ValueError("it holds no body")


def find_captures(run: RunDirectory) -> Iterator[Capture]:
    """Yield the run's calls in no particular order; files that are not captures are passed over."""
    for path in run.captures.glob("*.request.json"):
        rid = path.name.removesuffix(".request.json")
        if _RID.fullmatch(rid):
            yield Capture(rid, run.captures)
