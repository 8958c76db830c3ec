"""One plain connection to an upstream, and the answers that come over it."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import cast

import httptools

from pytest_agentcap.proxy.headers import Headers
from pytest_agentcap.proxy.wire import HEAD_BYTES, Limits, UpstreamFailure, broken_off, malformed, silent

_MOST_UNREAD = 1 << 18
_WITHOUT_BODY = frozenset({204, 304})


class Unanswered(UpstreamFailure):
    """Say that a connection that had served a call before broke before anything of this one's answer came."""


class PlainReply:
    """One answer; its connection fills it, a task reads it."""

    replayed_from: str | None = None
    __slots__ = ("_complete", "_connection", "_failure", "_pieces", "_unread", "_waiter", "begun", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        self.begun = False
        self.status = 0
        self.headers: Headers = []
        self._connection = connection
        self._pieces: list[bytes] = []
        self._unread = 0
        self._complete = False
        self._failure: UpstreamFailure | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def at_end(self) -> bool:
        return self._complete and not self._pieces

    async def started(self) -> None:
        """Wait for the head.

        Raises UpstreamFailure.
        """
        while not self.begun:
            await self._more()

    async def read(self) -> bytes:
        while not self._pieces:
            if self._complete:
                return b""
            await self._more()
        pieces, self._pieces, self._unread = self._pieces, [], 0
        if not self._complete:
            self._connection.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        if not self._complete:
            self._connection.abort()

    def begin(self, status: int, headers: Headers) -> None:
        self.begun, self.status, self.headers = True, status, headers
        self._wake()

    def add(self, piece: bytes) -> bool:
        """Take in a part of the body; tell whether the reader is far behind."""
        self._pieces.append(piece)
        self._unread += len(piece)
        self._wake()
        return self._unread >= _MOST_UNREAD

    def complete(self) -> None:
        self._complete = True
        self._wake()

    def fail(self, failure: UpstreamFailure) -> None:
        self._failure = failure
        self._wake()

    async def _more(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """Write requests and parse answers, one at a time; `_reply` is None while the connection is idle.

    `on_idle` is called when the next request may be written, `on_lost` when the connection is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        on_idle: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self._limits, self._on_idle, self._on_lost = limits, on_idle, on_lost
        self._transport: asyncio.Transport
        self._readable = select.poll()
        self._parser = httptools.HttpResponseParser(self)
        # What other clients take, too: lines that end in a line feed alone, and blanks behind a chunk's size.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._reply: PlainReply | None = None
        self._headers: Headers | None = None
        self._reused = self._touched = False
        self._bodiless = self._informational = self._until_closed = self._paused = False
        self._framing_bytes = 0
        self._unwritten = 0
        self._moved_at = loop.time()
        self._timer: asyncio.TimerHandle

    def begin(self, head: bytes, body: Sequence[bytes], *, bodiless: bool) -> PlainReply:
        """Write a request and return the reply that its answer will fill."""
        reply = self._reply = PlainReply(self)
        self._bodiless, self._touched = bodiless, False
        self._framing_bytes = 0
        self._moved_at = self.loop.time()
        if self._transport.is_closing():
            self._break("it was closed at once")
        elif body:
            self._transport.writelines([head, *body])
        else:
            self._transport.write(head)
        self._unwritten = self._transport.get_write_buffer_size()
        return reply

    def is_fresh(self) -> bool:
        """Tell whether nothing has arrived on this idle connection, its end included, seen by the event loop or not."""
        self._reused = True
        return not self._transport.is_closing() and not self._readable.poll(0)

    def resume(self) -> None:
        """Read on, should reading have stopped because the reader was behind."""
        if self._paused:
            self._paused = False
            self._moved_at = self.loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        self._reply = None
        self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._readable.register(transport.get_extra_info("socket"), select.POLLIN)
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._reply is None:
            # Nobody has asked: a server may complain that no request came, before it closes.
            self.abort()
            return
        self._touched = True
        self._moved_at = self.loop.time()
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(malformed(error))
        if self._framing_bytes > HEAD_BYTES and self._reply is not None:
            self._fail(malformed(f"more than {HEAD_BYTES} bytes of headers"))

    def eof_received(self) -> None:
        if self._reply is None:
            return
        if self._until_closed:
            self._complete(reusable=False)
        else:
            self._break("it was closed before the answer was complete")

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        # It holds bound methods of ours.
        del self._parser
        self._on_lost(self)
        self._break(error or "it was closed")

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._headers = []
        self._until_closed = False
        if self._reply is None:
            # More came than was asked for.
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        # None: a trailer, which no agent waits for.
        if self._headers is not None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        reply, headers = self._reply, self._headers or []
        self._headers = None
        if reply is None:
            return
        status = self._parser.get_status_code()
        self._informational = 100 <= status < 200 and status != 101
        if self._informational:
            return
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if status < 200 or codings not in ([], [b"chunked"]):
            # Nobody asked for another protocol, nor for a coding that belongs to one connection only.
            self._fail(malformed(f"status {status}, transfer-encoding {b', '.join(codings).decode('latin-1')!r}"))
            return
        reply.begin(status, headers)
        if self._bodiless:
            # The parser knows nothing of the request's method and waits for a body.
            self._complete(reusable=False)
        elif not codings and status not in _WITHOUT_BODY:
            self._until_closed = all(name != b"content-length" for name, _ in headers)

    def on_body(self, piece: bytes) -> None:
        self._framing_bytes = 0
        if self._reply is not None and self._reply.add(piece) and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
        elif self._reply is not None:
            self._complete(reusable=self._parser.should_keep_alive())

    def _complete(self, *, reusable: bool) -> None:
        reply, self._reply = self._reply, None
        assert reply is not None
        reply.complete()
        if reusable and not self._transport.is_closing() and not self._transport.get_write_buffer_size():
            self.resume()
            self._moved_at = self.loop.time()
            self._on_idle(self)
        else:
            self._transport.abort()

    def _break(self, error: Exception | str) -> None:
        failure = broken_off(error)
        self._fail(Unanswered(failure.kind, str(failure)) if self._reused and not self._touched else failure)

    def _fail(self, failure: UpstreamFailure) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.fail(failure)
        self._transport.abort()

    def _watch(self) -> None:
        """End what has been idle, or has not moved, for too long; one timer per connection, not one per call."""
        now = self.loop.time()
        limit = self._limits.keep_alive_s
        if self._reply is not None:
            limit = self._limits.silence_s
            unwritten = self._transport.get_write_buffer_size()
            if self._paused or unwritten < self._unwritten:
                self._moved_at = now
            self._unwritten = unwritten
        left = self._moved_at + limit - now
        if left <= 0:
            self._fail(silent(f"nothing moved for {limit:g} s"))
        else:
            self._timer = self.loop.call_later(
                min(left, self._limits.keep_alive_s, self._limits.silence_s), self._watch
            )
