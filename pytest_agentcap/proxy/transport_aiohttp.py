"""The transport over aiohttp: for https, and where our own protocol has no parser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

from pytest_agentcap.proxy.headers import Headers
from pytest_agentcap.proxy.wire import (
    HEAD_BYTES,
    Limits,
    Outgoing,
    Reply,
    UpstreamFailure,
    broken_off,
    malformed,
    not_accepted,
    refused,
    silent,
)

_OURS_ALONE = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class AiohttpTransport:
    """Send requests by an aiohttp session: no cookies, no redirects, no decoding, no proxy of the environment."""

    def __init__(self, origin: str, limits: Limits) -> None:
        """Raise OSError when the certificates that an https upstream is checked against cannot be read."""
        self._origin = origin
        traces = aiohttp.TraceConfig()
        traces.on_connection_create_end.append(_tell_connected)
        traces.on_connection_reuseconn.append(_tell_connected)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=limits.keep_alive_s,
                ssl=httpx.create_ssl_context() if origin.startswith("https:") else False,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_OURS_ALONE,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.silence_s),
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            trace_configs=[traces],
        )

    async def send(self, request: Outgoing, on_connected: Callable[[], None]) -> Reply:
        # aiohttp asks its protocols whether a kept connection is still open: let the event loop tell them.
        await asyncio.sleep(0)
        try:
            response = await self._session.request(
                request.method,
                # As it is, or the target would be quoted anew.
                URL(self._origin + request.target.decode("latin-1"), encoded=True),
                headers=CIMultiDict((name.decode("latin-1"), _text(value)) for name, value in request.headers),
                data=b"".join(request.body) or None,
                allow_redirects=False,
                trace_request_ctx=on_connected,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error) from error
        reply = _AiohttpReply(response)
        codings = [value.lower() for name, value in reply.headers if name == b"transfer-encoding"]
        if reply.status < 200 or codings not in ([], [b"chunked"]):
            response.close()
            raise malformed(f"status {reply.status}, transfer-encoding {b', '.join(codings).decode('latin-1')!r}")
        return reply

    async def aclose(self) -> None:
        await self._session.close()


class _AiohttpReply:
    replayed_from: str | None = None

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]
        self._framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
        self._response = response
        connection = response.connection
        # aiohttp closes a connection on a malformed chunk and leaves the reader of the body waiting for ever.
        protocol = connection.protocol if connection is not None else None
        # (A protocol without waiting messages is false.)
        self._closed = protocol.closed if protocol is not None else None
        if self._closed is not None:
            self._closed.add_done_callback(self._wake)

    @property
    def at_end(self) -> bool:
        return self._response.content.at_eof() and self._reset() is None

    async def read(self) -> bytes:
        try:
            piece = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error) from error
        if not piece and (reset := self._reset()):
            raise broken_off(str(reset))
        return piece

    def close(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._wake)
        # Only a connection whose response was read to its end can serve another request.
        if self.at_end:
            self._response.release()
        else:
            self._response.close()

    def _reset(self) -> BaseException | None:
        """Return what broke the connection whose end is the body's: aiohttp takes that for its end all the same."""
        if self._framed or self._closed is None or not self._closed.done():
            return None
        return self._closed.exception()

    def _wake(self, _closed: object) -> None:
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("malformed answer"))


def _text(value: bytes) -> str:
    """Return a header's value as aiohttp, which encodes by UTF-8, sends it unchanged; what is no UTF-8 it cannot."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _tell_connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx()


def _failure(error: Exception) -> UpstreamFailure:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return not_accepted(error)
        case aiohttp.SocketTimeoutError() | TimeoutError():
            return silent(error)
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorDNSError():
            return refused(error)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            return broken_off(error)
        case aiohttp.ClientPayloadError() if "not completed" in str(error):
            return broken_off(error)
    return malformed(error)
