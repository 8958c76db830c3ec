"""The HTTP client of the hot path: one connection per call in flight, checked out of a last-in-first-out list.

A shared httpcore pool looks at every idle socket on every call; a pool of one connection each does not. The transport
is used directly because `httpx.AsyncClient` keeps cookies and would carry one agent's into another's calls.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

CONNECT_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 1800.0


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
    async def send(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> AsyncIterator[httpx.Response]:
        """Send one request and give its response as soon as the head is there; nothing is followed, decoded or kept.

        `target` is the path and query as they go over the wire.
        Raises httpx.TransportError, also while the body is read.
        """
        # As an extension the target stays as the agent spelled it; as a part of the URL it would be quoted anew.
        extensions = {"timeout": self._timeout, "target": target}
        request = httpx.Request(method, self._origin, headers=headers, content=body, extensions=extensions)
        transport = self._free.pop() if self._free else self._new_transport()
        try:
            response = await transport.handle_async_request(request)
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
