"""Our own transport, for plain http: HTTP/1.1 over asyncio's protocols, parsed by httptools.

What is asked of a client besides speed:

- A kept connection is looked at when it is taken: one that its server has closed, or on which anything has arrived, is
  not used again. A server may still close it while the request is on its way. Such a call is repeated, once and over a
  new connection, when nothing of an answer had come and its method may be repeated (RFC 9110 section 9.2.2). A POST
  is not: its server may have begun to work on it.
- The answer is read while the request is being written, so a server may answer early. A connection whose request was
  not written to its end, or on which more came than the answer, is closed.
- Reading stops while the agent does not take what has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from pytest_agentcap.proxy.connection import Connection, PlainReply, Unanswered
from pytest_agentcap.proxy.wire import Limits, Outgoing, not_accepted, refused

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
# Of these, a request without a body says so (RFC 9110 section 8.6).
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class PlainTransport:
    """Send requests over connections that are kept, the one last used first."""

    def __init__(self, origin: str, limits: Limits) -> None:
        url = httpx.URL(origin)
        self._address = url.raw_host.decode("ascii"), url.port or 80
        self._host = url.netloc
        self._limits = limits
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def send(self, request: Outgoing, on_connected: Callable[[], None]) -> PlainReply:
        head = _encode_head(request, self._host)
        kept = self._take()
        if kept is not None:
            on_connected()
            try:
                return await _exchange(kept, request, head)
            except Unanswered:
                if request.method not in _REPEATABLE:
                    raise
        connection = await self._connect()
        on_connected()
        return await _exchange(connection, request, head)

    async def aclose(self) -> None:
        for connection in self._open:
            connection.abort()

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.connect_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._limits, self._idle.append, self._forget), *self._address
                )
        except TimeoutError as error:
            raise not_accepted(error) from error
        except OSError as error:
            raise refused(error) from error
        self._open.add(connection)
        return connection

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


async def _exchange(connection: Connection, request: Outgoing, head: bytes) -> PlainReply:
    reply = connection.begin(head, request.body, bodiless=request.method == "HEAD")
    try:
        await reply.started()
    except BaseException:
        reply.close()
        raise
    return reply


def _encode_head(request: Outgoing, host: bytes) -> bytes:
    lines = [
        b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.target),
        b"host: " + host,
        *[name + b": " + value for name, value in request.headers],
    ]
    if request.body or request.method in _WITH_BODY:
        lines.append(b"content-length: %d" % sum(map(len, request.body)))
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines):
        # Of what else a request is made, the agent's own parser has made sure; a key comes from elsewhere.
        raise ValueError("a header of the request holds a line break")
    return head
