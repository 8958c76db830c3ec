"""uvicorn's HTTP protocol, made to give the endpoint each request as the agent sent it, with less to do for each."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pytest_agentcap.proxy.departure import Departure


class AgentProtocol(HttpToolsProtocol):
    """Tell targets as they came, read the bodies of requests that offer another protocol, and tell departures.

    Of `http://elsewhere/path` and of `/path#part` (RFC 9112 section 3.2) uvicorn gives the path alone, so that nobody
    could tell them from what they are not; such a target is put into `raw_path` as it is, for the endpoint to refuse.
    A request with `upgrade: h2c`, such as the first one of Java's client, loses its body: llhttp takes what follows
    its head for the other protocol (RFC 9110 section 7.8 lets a server go on in this one).
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._departure = Departure()
        super().connection_made(cast(asyncio.Transport, _Gathering(transport, self.loop)))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._departure.happen()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self._head_without_offer() + data[offer.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._departure.put_into(cast(Scope, self.scope))

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("no tunnels: uvicorn answers 400")
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        if self.url[:1] != b"/" or b"#" in self.url:
            # The endpoint has not been called yet: its task starts when the event loop comes to it.
            self.scope["raw_path"] = self.url

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        # A long body has stopped reading, and who does not read does not see an agent leave.
        if not self.pipeline:
            self.flow.resume_reading()

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
