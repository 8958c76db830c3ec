"""uvicorn's HTTP protocol, made to give the endpoint each request as the agent sent it, with less to do for each."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pytest_agentcap.proxy.departure import Departure
from pytest_agentcap.proxy.incoming import IncomingBody
from pytest_agentcap.proxy.wire import HEAD_BYTES

_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class AgentProtocol(HttpToolsProtocol):
    """Tell targets and bodies as they came, also of requests that offer another protocol, and tell departures.

    Of `http://elsewhere/path` and of `/path#part` (RFC 9112 section 3.2) uvicorn gives the path alone, so that nobody
    could tell them from what they are not; such a target is put into `raw_path` as it is, for the endpoint to refuse.
    A request with `upgrade: h2c`, such as the first one of Java's client, loses its body: llhttp takes what follows
    its head for the other protocol (RFC 9110 section 7.8 lets a server go on in this one). Trailers, which llhttp tells
    like headers, are dropped (section 6.5.1), and who speaks HTTP/1.0 gets no chunks.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._departure = Departure()
        self._body: IncomingBody | None = None
        self._framing_bytes = 0
        super().connection_made(cast(asyncio.Transport, _Gathering(transport, self.loop)))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._body is not None:
            self._body.abandon()
        self._departure.happen()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._framing_bytes += len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offer:
                data = self._head_without_offer() + data[offer.args[0] :]
            except httptools.HttpParserError:
                if self._is_answering():
                    self.transport.close()
                else:
                    self.send_400_response("Invalid HTTP request received.")
                return
        if self._framing_bytes > HEAD_BYTES:
            if not self._is_answering():
                self.transport.write(_TOO_LONG)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._departure.put_into(cast(Scope, self.scope))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if self.headers[-1][0] == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError("a coding of one connection that nobody here can undo: uvicorn answers 400")

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("no tunnels: uvicorn answers 400")
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        # What follows are trailers.
        self.headers = []
        # The endpoint has not been called yet: its task starts when the event loop comes to it.
        if self.url[:1] != b"/" or b"#" in self.url:
            self.scope["raw_path"] = self.url
        if self.scope["http_version"] == "1.0":
            self.cycle.send = _Unchunked(self.cycle)  # type: ignore[assignment]
        # To an agent that waits to be told to go on uvicorn says so when its own way to the body is taken.
        self._body = None if self.expect_100_continue else IncomingBody()
        if self._body is not None:
            self._body.put_into(cast(Scope, self.scope))

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        if self._body is None:
            super().on_body(body)
        elif not self.cycle.response_complete:
            self._body.add(body)

    def on_message_complete(self) -> None:
        self._framing_bytes = 0
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        if self._body is not None:
            self._body.complete()
        # A long body has stopped reading, and who does not read does not see an agent leave.
        if not self.pipeline:
            self.flow.resume_reading()

    def _is_answering(self) -> bool:
        """Tell whether an answer has begun and goes on: what else is written now would be taken for a part of it."""
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])


class _Gathering:
    """A transport that writes head and body of an answer at once: uvicorn gives it one after the other."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.writelines(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Unchunked:
    """What an endpoint sends to an agent of HTTP/1.0: without a length, the connection's end is the body's."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._send = cycle, cycle.send
        self._length_told = True

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._length_told = any(name == b"content-length" for name, _ in message["headers"])
            if not self._length_told:
                self._cycle.chunked_encoding = False
        elif not self._length_told:
            # uvicorn makes sure that no more is written than was told.
            self._cycle.expected_content_length = len(message["body"])
        await self._send(cast(Any, message))
