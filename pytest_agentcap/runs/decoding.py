"""Undo the content encoding of a recorded body, and tell what each piece of it became."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

_ENCODINGS = frozenset({"identity", "gzip", "deflate", "br", "zstd"})
# Few bytes may stand for very many, which whoever sent them may have meant: they are decoded by and by, up to a limit.
_SLICE = 4096
MOST_DECODED = 256 << 20


def decode_body(
    wire: bytes, encoding: str, complete: bool, pieces: Sequence[int] | None
) -> tuple[bytes, bool, list[int] | None]:
    """Return the body, whether its encoding is undone, and the lengths of what its pieces were decoded to.

    Of a body that broke off there is what there is of it, while one that lied about its encoding stays, and one that
    would be longer than 256 MB. `pieces` are the lengths in which it arrived, None when nobody knows.
    """
    as_they_came = None if pieces is None else list(pieces)
    if not encoding or not wire:
        return wire, True, as_they_came
    if not {name.strip().lower() for name in encoding.split(",")} <= _ENCODINGS:
        return wire, False, as_they_came
    import httpx

    plain: list[bytes] = []
    ends: list[int] = []
    room = MOST_DECODED
    arriving = _arriving(wire, pieces or [len(wire)], plain, ends)
    try:
        for piece in httpx.Response(200, headers={"content-encoding": encoding}, content=arriving).iter_bytes():
            plain.append(piece)
            room -= len(piece)
            if room < 0:
                return wire, False, as_they_came
    except httpx.DecodingError:
        # zstd alone says that it is not at its end; secrets are found in what it gave before.
        if complete or not plain:
            return wire, False, as_they_came
    body = b"".join(plain)
    if pieces is None:
        return body, True, None
    # What decoders hold back until the end belongs to the last piece.
    whole = [*ends[: len(pieces) - 1], len(body)]
    return body, True, [end - start for start, end in pairwise([0, *whole])]


def _arriving(wire: bytes, pieces: Sequence[int], plain: list[bytes], ends: list[int]) -> Iterator[bytes]:
    """Yield a body in pieces, and note after each how much has been decoded so far."""
    seen = decoded = 0
    for start, end in pairwise([0, *accumulate(pieces)]):
        for at in range(start, end, _SLICE):
            yield wire[at : min(at + _SLICE, end)]
        decoded += sum(map(len, plain[seen:]))
        seen = len(plain)
        ends.append(decoded)
