"""The HTTP client of the hot path: one connection per call in flight, checked out of a last-in-first-out list.

A shared httpcore pool looks at every idle socket on every call; a pool of one connection each does not. The transport
is used directly because `httpx.AsyncClient` keeps cookies and would carry one agent's into another's calls.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

CONNECT_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Hold a request as it goes over the wire; `target` is its path and query."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class UpstreamClient:
    """Send requests to one upstream; use from one event loop only."""

    def __init__(self, origin: str) -> None:
        self._origin = httpx.URL(origin)
        self._free: list[httpx.AsyncHTTPTransport] = []
        # Loading the CA bundle takes tens of milliseconds: once for https, and never for plain http.
        secure = self._origin.scheme == "https"
        self._tls = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60.0)
        self._timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S).as_dict()

    @asynccontextmanager
    async def send(self, request: Outgoing, on_connected: Callable[[], None]) -> AsyncIterator[httpx.Response]:
        """Send one request and give its response as soon as the head is there; nothing is followed, decoded or kept.

        `on_connected` is called when a connection is there, new or kept.
        Raises httpx.TransportError, also while the body is read.
        """
        # As an extension the target stays as the agent spelled it; as a part of the URL it would be quoted anew.
        extensions: dict[str, Any] = {"timeout": self._timeout, "target": request.target}
        if self._free:
            transport = self._free.pop()
            on_connected()
        else:
            transport = self._new_transport()
            extensions["trace"] = _tell_when_connected(on_connected)
        outgoing = httpx.Request(
            request.method, self._origin, headers=request.headers, content=request.body, extensions=extensions
        )
        try:
            response = await transport.handle_async_request(outgoing)
            try:
                yield response
            finally:
                await response.aclose()
        except BaseException:
            await transport.aclose()
            raise
        self._free.append(transport)

    async def aclose(self) -> None:
        while self._free:
            await self._free.pop().aclose()

    def _new_transport(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=self._tls, limits=self._limits, trust_env=False)


def _tell_when_connected(on_connected: Callable[[], None]) -> Callable[[str, Any], Awaitable[None]]:
    """Listen to httpcore's events for the first that needs a connection: TLS is then done as well."""

    async def trace(event: str, info: Any) -> None:
        if event == "http11.send_request_headers.started":
            on_connected()

    return trace
