"""The journal's record format: length-framed raw bytes, readable up to the last whole frame after any crash.

A frame is one kind byte, the head's length (u32), the body's length (u64), a JSON head, and the body as it was on the
wire. `SESSION` comes first; then per call one `REQUEST`, any number of `CHUNK`s (response bytes written early so that
a long stream stays out of memory) and one `RESPONSE` that ends the call. A `PACKED` frame is a `REQUEST` whose body is
packed against those before it (module `packing`).
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from pytest_agentcap.runs.packing import Unpacker

SESSION, REQUEST, CHUNK, RESPONSE, PACKED = _KINDS = b"S", b"Q", b"C", b"R", b"P"
_LENGTHS = struct.Struct("<cIQ")


@dataclass(frozen=True, slots=True)
class Frame:
    """One journal record, its body at `body_at` of the file and `end` the offset behind it.

    A `PACKED` frame is given as the `REQUEST` that it stands for. A `CHUNK`'s `body` is empty here: many make up one
    response, and `read_body` brings them when it is complete.
    """

    kind: bytes
    head: dict[str, Any]
    body: bytes
    body_at: int
    end: int


def encode_frame(kind: bytes, head: dict[str, Any], *body: bytes) -> list[bytes]:
    """Return a frame as buffers for one gathered write; the body is given in pieces, which are not copied."""
    try:
        text = msgspec.json.encode(head)
    except UnicodeEncodeError:
        # Half a surrogate pair, which a command line or a file name can bring in: the standard library escapes it.
        text = json.dumps(head, separators=(",", ":")).encode()
    return [_LENGTHS.pack(kind, len(text), sum(map(len, body))) + text, *body]


def read_frames(file: BinaryIO, offset: int = 0, unpacker: Unpacker | None = None) -> Iterator[Frame]:
    """Yield the whole frames from an offset on; a torn last frame is left for later.

    Who does not begin at 0 gives the unpacker that has seen the frames before. Raises ValueError when a packed body
    cannot be had.
    """
    unpacker = unpacker or Unpacker()
    size = file.seek(0, os.SEEK_END)
    while offset + _LENGTHS.size <= size:
        file.seek(offset)
        lengths = file.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            # On a full disk the writer takes a torn frame back, also while it is being read.
            return
        kind, head_size, body_size = _LENGTHS.unpack(lengths)
        body_at = offset + _LENGTHS.size + head_size
        offset = body_at + body_size
        if offset > size or kind not in _KINDS:
            # Torn, or the zeros that a file system puts where a lost power cut a write short.
            return
        head, body = file.read(head_size), b"" if kind == CHUNK else file.read(body_size)
        if len(head) < head_size or (len(body) < body_size and kind != CHUNK):
            return
        if kind == PACKED:
            kind, body = REQUEST, unpacker.unpack(body_at, body)
        yield Frame(kind, json.loads(head), body, body_at, offset)


def read_body(file: BinaryIO, frame: Frame) -> bytes:
    """Read a frame's body from the journal that it was found in."""
    if frame.body:
        return frame.body
    file.seek(frame.body_at)
    return file.read(frame.end - frame.body_at)
