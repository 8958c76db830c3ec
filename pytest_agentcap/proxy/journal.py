"""The live record of one session: appended before anything goes upstream, and when a response ends or breaks."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.frames import CHUNK, PACKED, REQUEST, RESPONSE, SESSION, encode_frame
from pytest_agentcap.runs.packing import Packer

# Linux gathers at most 1,024 buffers in one write.
_MOST_BUFFERS = 1000
_LONG_BYTES = 1 << 16
_LONG_TO_PACK = 1 << 19


class JournalError(OSError):
    """Say that a call could not be recorded, so it must not happen."""


class Journal:
    """Append frames to a session's journal; a write that returned is in the kernel, whatever happens to this process.

    `request`, `chunk` and `response` write at once and may be called from several threads; frames never interleave.
    """

    def __init__(self, path: Path, session: dict[str, Any]) -> None:
        """Create the journal, 0600, with its `SESSION` frame.

        Raises JournalError, or FileExistsError when the session already has one.
        """
        self.path = path
        self._fd = _create_locked(path)
        self._lock = threading.Lock()
        self._turns = asyncio.Lock()
        self._packer: Packer | None = None
        self.size = 0
        try:
            self._append(SESSION, session)
        except BaseException:
            self.close()
            path.unlink()
            raise

    def request(self, head: dict[str, Any], *body: bytes) -> None:
        """Record a request; raise JournalError when that is not possible."""
        self._append(REQUEST, head, *body)

    def chunk(self, head: dict[str, Any], *body: bytes) -> None:
        self._append(CHUNK, head, *body)

    def response(self, head: dict[str, Any], *body: bytes) -> None:
        self._append(RESPONSE, head, *body)

    async def written(self, kind: bytes, head: dict[str, Any], *body: bytes) -> None:
        """Write a frame without holding up the event loop: a long one in a thread, and what comes meanwhile after it.

        Requests of 64 KB and more are packed: to write megabytes takes the kernel milliseconds. To pack is faster:
        there a thread is worth its while from 512 KB on only. Raises JournalError; when it is cancelled, it ends only
        when the frame is there.
        """
        size = sum(map(len, body))
        if kind == REQUEST and size >= _LONG_BYTES:
            append, long = self._append_packed, size >= _LONG_TO_PACK
        else:
            append, long = partial(self._append, kind), size >= _LONG_BYTES
        if not long and not self._turns.locked():
            append(head, *body)
            return
        writing = asyncio.ensure_future(self._written_in_turn(long, append, head, *body))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            if error := writing.exception():
                raise error from None
            raise

    async def _written_in_turn(
        self, long: bool, append: Callable[..., None], head: dict[str, Any], *body: bytes
    ) -> None:
        async with self._turns:
            if long:
                await asyncio.get_running_loop().run_in_executor(None, append, head, *body)
            else:
                append(head, *body)

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _append(self, kind: bytes, head: dict[str, Any], *body: bytes) -> None:
        with self._lock:
            self._write(encode_frame(kind, head, *body))

    def _append_packed(self, head: dict[str, Any], *body: bytes) -> None:
        with self._lock:
            packer, self._packer = self._packer or Packer(), None
            self._write(encode_frame(PACKED, head, packer.pack(body)))
            # Only now: a reader could not do without a part that is not there.
            self._packer = packer

    def _write(self, buffers: list[bytes]) -> None:
        if self._fd < 0:
            raise JournalError(errno.EBADF, "cannot record the call: its session has ended", str(self.path))
        size = sum(map(len, buffers))
        if len(buffers) > _MOST_BUFFERS:
            buffers = [b"".join(buffers)]
        try:
            written = os.writev(self._fd, buffers)
            if written < size:
                self._write_rest(b"".join(buffers)[written:])
        except OSError as error:
            # A torn frame would swallow every later one: take it back, so that what follows stays readable.
            os.ftruncate(self._fd, self.size)
            raise JournalError(error.errno, f"cannot record the call: {error.strerror}", str(self.path)) from error
        self.size += size

    def _write_rest(self, rest: bytes) -> None:
        view = memoryview(rest)
        while view:
            view = view[os.write(self._fd, view) :]


def _create_locked(path: Path) -> int:
    """Open a new file; its lock, held until it is closed or this process dies, tells that its session is alive."""
    while True:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd
        # Somebody who finishes journals saw it between these two calls and took it for one that was left behind.
        os.close(fd)
