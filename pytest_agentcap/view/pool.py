"""The bytes of a session, each held once: what a body repeats of those before it is told by where it stands.

An agent sends its whole conversation with every call. A body is therefore mostly a beginning and an end of an earlier
one. What is between is cut where an equal text would be cut again: at long JSON strings, and within them at lines that
their own content chooses, so that an edit in the midst of a text costs no more than what is around it.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from pytest_agentcap.conversation.repeated import common_prefix

BLOCK_BYTES = 1 << 18
_RECENT = 4
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_LINE = re.compile(rb".*?(?:\\n|\Z)", re.DOTALL)
_QUOTE = re.compile(rb'(?<!\\)"')
_LONG = 200
_CUT_EVERY = 8
_SMALL = 64

Slices = list[int]


@dataclass(frozen=True, slots=True)
class _Body:
    """Hold a body and the places of the pool that it is made of: where each ends in the body, and where it stands."""

    text: bytes
    slices: Slices
    ends: tuple[int, ...]


@dataclass(slots=True)
class Pool:
    """Take texts and return where their bytes stand, as `[start, length, start, length, …]`."""

    _pending: bytearray = field(default_factory=bytearray)
    _size: int = 0
    _blocks: list[bytes] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict)
    _recent: list[_Body] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Return how many bytes the pool holds, before compression."""
        return self._size

    def add_body(self, text: bytes) -> Slices:
        """Take a request's body, which repeats much of those before it."""
        best, prefix = None, 0
        for body in self._recent:
            shared = common_prefix(body.text, text)
            if shared > prefix:
                best, prefix = body, shared
        if best is None:
            slices = self.add(text)
        elif prefix == len(text) == len(best.text):
            slices = best.slices
        else:
            slices = self._add_beside(best, prefix, text)
        ends = tuple(accumulate(slices[1::2]))
        self._recent = [_Body(text, slices, ends), *(body for body in self._recent if body is not best)][:_RECENT]
        return slices

    def _add_beside(self, body: _Body, prefix: int, text: bytes) -> Slices:
        """Take a text as a beginning and an end of a body, and what is between."""
        suffix = common_suffix(body.text, text, min(len(body.text), len(text)) - prefix)
        prefix, suffix = _widened(text, prefix, suffix)
        slices = _cut(body, 0, prefix)
        self._extend(slices, text[prefix : len(text) - suffix])
        for start, length in _pairs(_cut(body, len(body.text) - suffix, len(body.text))):
            _append(slices, start, length)
        return slices

    def add(self, text: bytes) -> Slices:
        """Take any text, in pieces of which each is held once."""
        slices: Slices = []
        self._extend(slices, text)
        return slices

    def add_whole(self, text: bytes) -> Slices:
        """Take a text that no other one repeats, without looking for pieces in it."""
        return [self._append_bytes(text), len(text)] if text else []

    def add_string(self, text: str) -> Slices:
        """Take a text as the inside of the JSON string that it is, spelled as in a body that holds it."""
        spellings = [escaped(text)] if text.isascii() else [escaped(text), json.dumps(text)[1:-1].encode()]
        slices: Slices = []
        for piece in min((list(_string_pieces(spelled)) for spelled in spellings), key=self._new_bytes):
            self._take(slices, piece)
        return slices

    def _new_bytes(self, pieces: list[bytes]) -> int:
        return sum(len(piece) for piece in pieces if piece not in self._known)

    def _extend(self, slices: Slices, text: bytes) -> None:
        for piece in _pieces(text):
            self._take(slices, piece)

    def _take(self, slices: Slices, piece: bytes) -> None:
        start = self._known.get(piece)
        if start is None:
            start = self._append_bytes(piece)
            if len(piece) >= _SMALL:
                self._known[piece] = start
        _append(slices, start, len(piece))

    def _append_bytes(self, piece: bytes) -> int:
        start = self._size
        self._pending += piece
        self._size += len(piece)
        while len(self._pending) >= BLOCK_BYTES:
            self._blocks.append(compress(self._pending[:BLOCK_BYTES]))
            del self._pending[:BLOCK_BYTES]
        return start

    def blocks(self) -> Iterator[bytes]:
        """Yield the pool's bytes in order, 256 KiB to a block, each compressed on its own."""
        yield from self._blocks
        if self._pending:
            yield compress(self._pending)


def compress(data: bytes | bytearray) -> bytes:
    """Compress as browsers' `DecompressionStream("deflate-raw")` undoes it, in base64."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b64encode(packer.compress(data) + packer.flush())


def escaped(text: str) -> bytes:
    """Return the inside of a text's JSON string, letters as they are; halves of surrogate pairs as escapes."""
    try:
        return json.dumps(text, ensure_ascii=False)[1:-1].encode()
    except UnicodeEncodeError:
        return json.dumps(text)[1:-1].encode()


def common_suffix(one: bytes, other: bytes, most: int) -> int:
    """Return how many bytes two texts have in common at their end, `most` at most."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if one.endswith(other[len(other) - middle :]):
            low = middle
        else:
            high = middle - 1
    return low


def _widened(text: bytes, prefix: int, suffix: int) -> tuple[int, int]:
    """Shorten what is shared at both ends so that what is between holds its JSON strings as a whole.

    They are then cut as they will be when the same texts come alone.
    """
    if prefix + suffix == len(text):
        return prefix, suffix
    closing = _QUOTE.search(text, len(text) - suffix)
    return _outside(text, prefix), len(text) - closing.end() if closing else suffix


def _outside(text: bytes, prefix: int) -> int:
    """Return the last place of a JSON text's beginning that is surely in no string; in other texts maybe its end."""
    # Within a string the quotes would be escaped; one that ends in a brace only costs a worse cut.
    opened = max(text.rfind(b'{"', 0, prefix), text.rfind(b'["', 0, prefix))
    closed = text.rfind(b'"}', 0, prefix)
    if closed > opened and text[closed - 1 : closed] != b"\\":
        return closed + len(b'"}')
    return opened if opened >= 0 else prefix


def _pieces(text: bytes) -> Iterator[bytes]:
    at = 0
    for found in _STRING.finditer(text):
        if found.end(1) - found.start(1) >= _LONG:
            yield text[at : found.start(1)]
            yield from _string_pieces(found[1])
            at = found.end(1)
    if at < len(text):
        yield text[at:]


def _string_pieces(text: bytes) -> Iterator[bytes]:
    """Cut the inside of a string behind lines whose checksum says so; equal lines are cut alike wherever they stand."""
    start = 0
    for line in _LINE.finditer(text):
        if zlib.crc32(line[0]) % _CUT_EVERY == 0 and line.end() - start >= _SMALL:
            yield text[start : line.end()]
            start = line.end()
    if start < len(text):
        yield text[start:]


def _cut(body: _Body, start: int, end: int) -> Slices:
    """Return the places that a part of a body is made of."""
    slices: Slices = []
    at = bisect_right(body.ends, start)
    while start < end:
        stands, length = body.slices[2 * at], body.slices[2 * at + 1]
        skipped = start - (body.ends[at] - length)
        taken = min(end, body.ends[at]) - start
        _append(slices, stands + skipped, taken)
        start, at = start + taken, at + 1
    return slices


def _append(slices: Slices, start: int, length: int) -> None:
    if slices and slices[-2] + slices[-1] == start:
        slices[-1] += length
    elif length:
        slices += (start, length)


def _pairs(slices: Slices) -> Iterator[tuple[int, int]]:
    return zip(slices[::2], slices[1::2], strict=True)
