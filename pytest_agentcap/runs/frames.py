"""The journal's record format: length-framed raw bytes, readable up to the last whole frame after any crash.

A frame is one kind byte, the head's length (u32), the body's length (u64), a JSON head, and the body as it was on the
wire. `SESSION` comes first; then per call one `REQUEST`, any number of `CHUNK`s (response bytes written early so that
a long stream stays out of memory) and one `RESPONSE` that ends the call.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

SESSION, REQUEST, CHUNK, RESPONSE = _KINDS = b"S", b"Q", b"C", b"R"
_LENGTHS = struct.Struct("<cIQ")


@dataclass(frozen=True, slots=True)
class Frame:
    """One journal record; `end` is the file offset behind it."""

    kind: bytes
    head: dict[str, Any]
    body: bytes
    end: int


def encode_frame(kind: bytes, head: dict[str, Any], body: bytes = b"") -> list[bytes]:
    """Return a frame as buffers for one gathered write; the body is not copied."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return [_LENGTHS.pack(kind, len(text), len(body)) + text, body]


def read_frames(file: BinaryIO, offset: int = 0) -> Iterator[Frame]:
    """Yield the whole frames from an offset on; a torn last frame is left for later."""
    file.seek(offset)
    while True:
        lengths = file.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            return
        kind, head_size, body_size = _LENGTHS.unpack(lengths)
        if kind not in _KINDS:
            # A machine that lost power can leave zeros where the last frames were.
            return
        head, body = file.read(head_size), file.read(body_size)
        if len(head) < head_size or len(body) < body_size:
            return
        offset += _LENGTHS.size + head_size + body_size
        yield Frame(kind, json.loads(head), body, offset)
