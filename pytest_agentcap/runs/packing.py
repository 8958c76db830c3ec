"""Long request bodies packed against the ones before them: an agent sends its whole history with every call.

All packed bodies of a journal are one zstd stream, of which each frame holds what the body added, so that it can be
read as soon as it is there. Most of a body repeats the last one: to find that out costs less than to write it all.
"""

from __future__ import annotations

from collections.abc import Iterable

import zstandard

# Chosen for speed on histories of up to 4 MB: what repeats is found at gigabytes a second, what is random skipped.
_WINDOW_LOG, _HASH_LOG, _SHORTEST_MATCH = 22, 18, 7
# A stream begins with this, and no later part of one does: it would be a block longer than blocks may be.
_MAGIC = b"\x28\xb5\x2f\xfd"


class Packer:
    """Pack bodies for one journal; after a part that did not get there, begin with another packer."""

    def __init__(self) -> None:
        parameters = zstandard.ZstdCompressionParameters(
            window_log=_WINDOW_LOG,
            hash_log=_HASH_LOG,
            min_match=_SHORTEST_MATCH,
            strategy=zstandard.STRATEGY_FAST,
            target_length=1,
        )
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def pack(self, body: Iterable[bytes]) -> bytes:
        """Return the next part of the stream, from which the body, given in pieces, can be had."""
        parts = [self._stream.compress(piece) for piece in body]
        return b"".join((*parts, self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)))


class Unpacker:
    """Unpack the bodies of one journal in their order; the last one can be had again."""

    def __init__(self) -> None:
        self._stream: zstandard.ZstdDecompressionObj | None = None
        self._last: tuple[int, bytes] | None = None

    def unpack(self, at: int, part: bytes) -> bytes:
        """Return the body that a part of the stream, `at` this offset of the journal, stands for.

        Raises ValueError when it cannot be had: the journal is damaged, or a part before this one was left out.
        """
        if self._last is not None and self._last[0] == at:
            return self._last[1]
        if not part:
            return b""
        if part.startswith(_MAGIC):
            self._stream = zstandard.ZstdDecompressor().decompressobj()
        if self._stream is None:
            raise ValueError(f"the packed body at byte {at} follows none")
        try:
            body = self._stream.decompress(part)
        except zstandard.ZstdError as error:
            raise ValueError(f"the packed body at byte {at} is damaged: {error}") from error
        self._last = at, body
        return body
