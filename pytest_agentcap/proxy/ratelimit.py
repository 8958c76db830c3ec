"""An upstream's rate limit, and how many calls it gets at once: shared by all processes of a user on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import mmap
import os
import random
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.headers import Headers
from pytest_agentcap.proxy.wire import Outgoing, Pace, Reply, Transport

TOO_MANY = 429
LONGEST_PAUSE_S = 600.0
# Calls that waited for the same moment begin within so much of it.
_SPREAD = 0.1
_LONGEST_SPREAD_S = 1.0
_SLOT_POLL_S = 0.02
_MOMENT = struct.Struct("<d")
_FOLDER = "upstreams"
GiveBack = Callable[[], None]


class RateLimit:
    """Hold calls back while an upstream wants none, and let no more than `concurrency` of them be with it at once.

    The moment until which it wants none is a double in a mapped file, on the machine's monotonic clock, which all
    processes share. Each place at the upstream is a file that is locked while a call has it: a process that is killed
    leaves none behind. The last user takes the folder away, unless calls are held back at that moment.
    """

    def __init__(self, folder: Path, concurrency: int | None = None) -> None:
        """Share the folder's state; raises OSError when it cannot be made."""
        self.folder = folder
        self._in_use = _use(folder)
        self._places = [folder / f"place-{number}" for number in range(concurrency or 0)]
        self._queue = asyncio.Lock()
        self._descriptor = os.open(folder / "pause", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._descriptor, _MOMENT.size)
        self._moment = mmap.mmap(self._descriptor, _MOMENT.size)

    @classmethod
    def of(cls, upstream: Upstream, root: Path, concurrency: int | None = None) -> RateLimit:
        """Share what concerns an upstream and its key, below a folder that is this user's alone. Raises OSError."""
        told = f"{upstream.origin}\n{upstream.api_key or ''}"
        return cls(root / _FOLDER / hashlib.sha256(told.encode()).hexdigest()[:16], concurrency)

    def close(self) -> None:
        over = self.pause_s() <= 0
        self._moment.close()
        os.close(self._descriptor)
        with contextlib.suppress(BlockingIOError):
            if over:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # What empties /tmp may have been here before.
                shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._in_use)

    @property
    def is_shared_out(self) -> bool:
        """Tell whether the calls at the upstream are counted."""
        return bool(self._places)

    def pause_s(self) -> float:
        """Return for how long the upstream wants no calls; 0 or less when it takes them."""
        left = float(_MOMENT.unpack_from(self._moment)[0]) - time.monotonic()
        # Nobody asks for more: that is a moment of before the machine was started, when its clock began anew.
        return left if left <= LONGEST_PAUSE_S else 0.0

    def hold_back(self, seconds: float) -> None:
        """Have every process wait; a longer wait that somebody has asked for stays."""
        until = time.monotonic() + min(seconds, LONGEST_PAUSE_S)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            if self.pause_s() <= 0 or until > _MOMENT.unpack_from(self._moment)[0]:
                _MOMENT.pack_into(self._moment, 0, until)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    async def wait(self) -> None:
        """Wait until the upstream takes calls again."""
        while (left := self.pause_s()) > 0:
            await asyncio.sleep(left + random.uniform(0, min(left * _SPREAD, _LONGEST_SPREAD_S)))

    def place_at_once(self) -> GiveBack | None:
        """Return what gives a place back; None when others wait for one, or none is free, or nobody counts them."""
        descriptor = None if self._queue.locked() else self._free_place()
        return None if descriptor is None else partial(os.close, descriptor)

    async def take_place(self) -> GiveBack:
        """Wait for a place at the upstream and return what gives it back; calls of one process wait in line."""
        async with self._queue:
            while (descriptor := self._free_place()) is None:
                await asyncio.sleep(_SLOT_POLL_S)
        return partial(os.close, descriptor)

    def _free_place(self) -> int | None:
        for place in self._places:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None


def clear_up(root: Path) -> None:
    """Take away what killed processes left of upstreams that nobody uses and that want no pause."""
    for folder in (root / _FOLDER).glob("*"):
        RateLimit(folder).close()


def _use(folder: Path) -> int:
    """Make a folder unless it is there, and say that it is in use; return the descriptor that says so."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = -1
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.path.samestat(folder.stat(), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            # Its last user has taken it away in between.
            pass
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class PacedTransport:
    """Send each call when the upstream takes it, note how long that took, and learn what answers say of others."""

    transport: Transport
    limit: RateLimit

    async def send(self, request: Outgoing, on_connected: Callable[[], None]) -> Reply:
        """Do as every transport does; what is no call goes as it comes."""
        pace = request.origin.pace if request.origin else None
        if pace is None:
            return await self.transport.send(request, on_connected)
        give_back = self.limit.place_at_once()
        if self.limit.pause_s() > 0 or (give_back is None and self.limit.is_shared_out):
            with _waited(pace):
                give_back = await self._held_back(give_back)
        try:
            reply = await self.transport.send(request, on_connected)
        except BaseException:
            if give_back:
                give_back()
            raise
        if reply.status == TOO_MANY and (seconds := retry_after_s(reply.headers)) is not None:
            self.limit.hold_back(seconds)
        return _Placed(reply, give_back) if give_back else reply

    async def aclose(self) -> None:
        await self.transport.aclose()

    async def _held_back(self, give_back: GiveBack | None) -> GiveBack | None:
        """Wait for a place, unless there is one already, then for the upstream; return what gives the place back."""
        if give_back is None and self.limit.is_shared_out:
            give_back = await self.limit.take_place()
        try:
            await self.limit.wait()
        except BaseException:
            if give_back:
                give_back()
            raise
        return give_back


@contextlib.contextmanager
def _waited(pace: Pace) -> Iterator[None]:
    started = time.perf_counter()
    pace.waiting.begin()
    try:
        yield
    finally:
        pace.waiting.end()
        pace.call.waited_ms = round((time.perf_counter() - started) * 1000, 3)


class _Placed:
    """An answer that has a place at the upstream until it is closed."""

    def __init__(self, reply: Reply, give_back: GiveBack) -> None:
        self._reply, self._give_back = reply, give_back
        self.status, self.headers = reply.status, reply.headers
        self.replayed_from = reply.replayed_from

    @property
    def at_end(self) -> bool:
        return self._reply.at_end

    async def read(self) -> bytes:
        return await self._reply.read()

    def close(self) -> None:
        self._reply.close()
        self._give_back()


def retry_after_s(headers: Headers) -> float | None:
    """Read for how long an upstream wants to be let alone: `retry-after-ms`, or `retry-after` in seconds or as a date.

    RFC 9110 section 10.2.3; the first is OpenAI's. None when it says nothing that can be read.
    """
    told: Mapping[bytes, str] = {name: value.decode("latin-1").strip() for name, value in headers}
    if (milliseconds := _number(told.get(b"retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = told.get(b"retry-after")
    if text is None or (seconds := _number(text)) is not None:
        return seconds if text is not None else None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
