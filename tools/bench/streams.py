"""Reading streamed answers: when the first byte came, and how long each event was on its way."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

from client import Connection, LoadError, Target, connect

_SENT = re.compile(rb'"sent_ns":(\d+),')
_SENT_LONGEST = 40


@dataclass(slots=True)
class Stream:
    """Give what one streamed response measured, in seconds: its first body byte, and each event's way to us."""

    first_byte_s: float = 0.0
    delays_s: list[float] = field(default_factory=list)


class StreamReader:
    """Read streamed responses, one after the other, over one connection."""

    def __init__(self) -> None:
        self._connection: Connection
        self._done: asyncio.Future[None]
        self._stream = Stream()
        self._rest = b""

    async def read(self, request: bytes) -> Stream:
        """Make a call and read its answer to the end.

        Raises LoadError when it breaks off.
        """
        self._done = asyncio.get_running_loop().create_future()
        self._stream, self._rest = Stream(), b""
        self._connection.send(request)
        await self._done
        return self._stream

    async def connect(self, target: Target) -> None:
        self._connection = await connect(target, self._ended, self._got)

    def close(self) -> None:
        self._connection.close()

    def _got(self, connection: Connection, data: bytes) -> None:
        now = time.monotonic_ns()
        stream = self._stream
        stream.first_byte_s = stream.first_byte_s or time.perf_counter() - connection.started
        data = self._rest + data
        end = 0
        for sent in _SENT.finditer(data):
            stream.delays_s.append((now - int(sent[1])) / 1e9)
            end = sent.end()
        self._rest = data[max(end, len(data) - _SENT_LONGEST) :]

    def _ended(self, connection: Connection, error: LoadError | None) -> None:
        if self._done.done():
            return
        if error:
            self._done.set_exception(error)
        else:
            self._done.set_result(None)


async def run_streams(target: Target, request: bytes, connections: int, calls: int = 1) -> list[Stream]:
    """Read streamed responses over some connections at the same time, and so many calls in turn over each.

    Raises LoadError when one breaks off.
    """

    async def run() -> list[Stream]:
        reader = StreamReader()
        await reader.connect(target)
        try:
            return [await reader.read(request) for _ in range(calls)]
        finally:
            reader.close()

    return [stream for streams in await asyncio.gather(*(run() for _ in range(connections))) for stream in streams]
