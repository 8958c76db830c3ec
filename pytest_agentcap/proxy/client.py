"""The HTTP client of the hot path: httpx's transport interface over aiohttp's connections.

httpx's own transport spends most of a small call in its connection pool and its HTTP parser. A transport and no
`httpx.AsyncClient`, because a client keeps cookies and would carry one agent's into another's calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

CONNECT_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 1800.0
KEEP_ALIVE_S = 60.0
_HEADER_BYTES = 1 << 16
_OURS_ALONE = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Hold a request as it goes over the wire; `target` is its path and query."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class UpstreamClient:
    """Send requests to one upstream; make it and use it in one event loop."""

    def __init__(self, origin: str) -> None:
        """Raise OSError when the certificates that an https upstream is checked against cannot be read."""
        self._origin = httpx.URL(origin)
        self._transport = AiohttpTransport(origin)

    @asynccontextmanager
    async def send(self, request: Outgoing, on_connected: Callable[[], None]) -> AsyncIterator[httpx.Response]:
        """Send one request and give its response as soon as the head is there; nothing is followed, decoded or kept.

        `on_connected` is called when a connection is there, new or kept. Raises httpx.TransportError, also while the
        body is read.
        """
        # As an extension the target stays as the agent spelled it; as a part of the URL it would be quoted anew.
        extensions = {"target": request.target, "on_connected": on_connected}
        outgoing = httpx.Request(
            request.method, self._origin, headers=request.headers, content=request.body, extensions=extensions
        )
        response = await self._transport.handle_async_request(outgoing)
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Speak httpx's transport protocol by aiohttp: no cookies, no redirects, no decoding, no proxy of the environment.

    The request's body must be there as a whole, and its `target` extension be set.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        secure = origin.startswith("https:")
        traces = aiohttp.TraceConfig()
        traces.on_connection_create_end.append(_tell_connected)
        traces.on_connection_reuseconn.append(_tell_connected)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEP_ALIVE_S, ssl=httpx.create_ssl_context() if secure else False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_OURS_ALONE,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            trace_configs=[traces],
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = URL(self._origin + request.extensions["target"].decode("latin-1"), encoded=True)
        headers = CIMultiDict(
            (name.decode("latin-1"), _text(value))
            for name, value in request.headers.raw
            if name.lower() not in (b"host", b"content-length")
        )
        try:
            response = await self._session.request(
                request.method,
                url,
                headers=headers,
                data=request.content or None,
                allow_redirects=False,
                trace_request_ctx=request.extensions["on_connected"],
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _as_httpx(error) from error
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Stream(response))

    async def aclose(self) -> None:
        await self._session.close()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._ends_with_connection = not (
            "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
        )
        connection = response.connection
        # aiohttp closes a connection on a malformed chunk and leaves the reader of the body waiting for ever.
        protocol = connection.protocol if connection is not None else None
        # (A protocol without waiting messages is false.)
        self._closed = protocol.closed if protocol is not None else None
        if self._closed is not None:
            self._closed.add_done_callback(self._wake)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _as_httpx(error) from error
        if self._ends_with_connection and self._closed is not None and self._closed.done():
            # aiohttp takes a connection that broke for one that ended.
            broken = self._closed.exception()
            if broken is not None:
                raise httpx.ReadError(str(broken)) from broken

    def _wake(self, _closed: object) -> None:
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("malformed answer"))

    async def aclose(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._wake)
        # Only a connection whose response was read to its end can serve another request.
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


async def _tell_connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx()


def _text(value: bytes) -> str:
    """Return what aiohttp, which writes UTF-8, makes the same bytes of."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _as_httpx(error: Exception) -> httpx.TransportError:
    """Name a failure by httpx's exceptions."""
    text = str(error) or type(error).__name__
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(text)
        case aiohttp.SocketTimeoutError() | TimeoutError():
            return httpx.ReadTimeout(text)
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorDNSError():
            return httpx.ConnectError(text)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            return httpx.ReadError(text)
        case aiohttp.ClientPayloadError() if "not completed" in text:
            return httpx.ReadError(text)
    return httpx.RemoteProtocolError(text)
