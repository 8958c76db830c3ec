"""The load: raw HTTP/1.1 connections that cost little next to any proxy that they measure."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class LoadError(Exception):
    """Say what a server did that leaves a figure without a value."""


@dataclass(frozen=True, slots=True)
class Target:
    """Name where calls go; `tls` is None for plain http."""

    port: int
    tls: ssl.SSLContext | None = None


class Response:
    """Follow one response as its bytes come; nothing of it is kept."""

    __slots__ = ("_missing", "_tail", "_unread", "complete", "status")

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self._unread = b""
        self._missing = -1
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Take in what came and return the part of it behind the head, chunk framing included.

        Raises LoadError for a response whose end only the connection's end would tell.
        """
        if not self.status:
            data = self._unread + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._unread = data
                return b""
            head = data[:end]
            self.status = int(head[9:12])
            length = _LENGTH.search(head)
            if length:
                self._missing = int(length[1])
            elif _CHUNKED.search(head):
                self._tail = b"\r\n"
            else:
                raise LoadError("a response has neither content-length nor chunks")
            data = data[end + 4 :]
        if self._missing >= 0:
            self._missing -= len(data)
            self.complete = self._missing <= 0
        else:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
            self.complete = self._tail == _LAST_CHUNK
        return data


class Connection(asyncio.Protocol):
    """Keep one connection; `on_body` hears of body bytes, `on_end` of a response's end or, with an error, failure."""

    def __init__(
        self,
        on_end: Callable[[Connection, LoadError | None], None],
        on_body: Callable[[Connection, bytes], None] | None = None,
    ) -> None:
        self._on_end, self._on_body = on_end, on_body
        self._transport: asyncio.Transport
        self._response: Response | None = None
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> None:
        self._response = Response()
        self.started = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self._transport.abort()
            return
        try:
            body = response.feed(data)
        except LoadError as error:
            self._fail(error)
            return
        if self._on_body and body:
            self._on_body(self, body)
        if response.complete:
            self._response = None
            self._on_end(self, None if response.status == 200 else LoadError(f"a call got status {response.status}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._response is not None:
            self._fail(LoadError(f"a connection ended before its response: {exc or 'closed'}"))

    def close(self) -> None:
        self._response = None
        self._transport.abort()

    def _fail(self, error: LoadError) -> None:
        self._response = None
        self._on_end(self, error)


@dataclass(frozen=True, slots=True)
class Load:
    """Give what a load measured, in seconds; `started` is on the clock of `time.perf_counter`."""

    started: float
    elapsed_s: float
    latencies_s: list[float]

    @property
    def calls(self) -> int:
        return len(self.latencies_s)


async def run_load(target: Target, request: bytes, connections: int, seconds: float, most_calls: int) -> Load:
    """Call without pause over some connections for some seconds or, when that is sooner, a number of calls.

    Raises LoadError when a call fails: a rate of failures is no rate.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    latencies: list[float] = []
    busy = connections

    # A callback per response and no task per connection: the client must not be what is measured.
    def ended(connection: Connection, error: LoadError | None) -> None:
        nonlocal busy
        now = time.perf_counter()
        if error:
            if not done.done():
                done.set_exception(error)
            return
        latencies.append(now - connection.started)
        if now < deadline and len(latencies) + busy <= most_calls:
            connection.send(request)
            return
        busy -= 1
        if not busy and not done.done():
            done.set_result(None)

    opened = [await connect(target, ended) for _ in range(connections)]
    started = time.perf_counter()
    deadline = started + seconds
    try:
        for connection in opened:
            connection.send(request)
        await done
        return Load(started, time.perf_counter() - started, latencies)
    finally:
        for connection in opened:
            connection.close()


async def connect(
    target: Target,
    on_end: Callable[[Connection, LoadError | None], None],
    on_body: Callable[[Connection, bytes], None] | None = None,
) -> Connection:
    loop = asyncio.get_running_loop()
    name = "localhost" if target.tls else None
    _, connection = await loop.create_connection(
        lambda: Connection(on_end, on_body), "127.0.0.1", target.port, ssl=target.tls, server_hostname=name
    )
    return connection
