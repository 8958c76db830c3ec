"""One call from the agent to the upstream and back: recorded, forwarded, teed in the branch that forwards."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from pytest_agentcap.proxy.apis import KEY_HEADERS, UnsafePath, Upstream, api_of, error_body
from pytest_agentcap.proxy.client import UpstreamClient
from pytest_agentcap.proxy.journal import JournalError
from pytest_agentcap.proxy.leases import Call, Lease, Leases

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade expect".split()
)
_UNRECORDED_HEADERS = KEY_HEADERS | {b"cookie", b"set-cookie", b"proxy-authorization"}
_SPOOL_BYTES = 1 << 20


class ClientGone(Exception):
    """Say that the agent closed its connection before its answer was complete."""


class Forwarder:
    """The proxy's ASGI endpoint: `/<lease>/<path>` goes to the upstream; bodies are never looked into."""

    def __init__(self, upstream: Upstream, leases: Leases, client: UpstreamClient, recorded_as: str) -> None:
        self._upstream = upstream
        self._leases = leases
        self._client = client
        self._recorded_as = recorded_as
        self._running: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, _, rest = scope["raw_path"].decode("latin-1").partition("/")
        token, slash, rest = rest.partition("/")
        path, method = slash + rest, scope["method"]
        api = api_of(method, path)
        lease = self._leases.find(token)
        if lease is None:
            await _answer(send, 403, error_body(api, 403, "this address has no valid lease"))
            return
        try:
            query = scope["query_string"].decode("latin-1")
            target = self._upstream.target(path, query)
        except UnsafePath as error:
            await _answer(send, 400, error_body(api, 400, str(error)))
            return
        started_at_ns, started = time.time_ns(), time.perf_counter()
        try:
            body = await _read_body(receive)
        except ClientGone:
            return
        if self._leases.find(token) is not lease:
            await _answer(send, 403, error_body(api, 403, "this lease was revoked"))
            return
        headers = self._request_headers(scope["headers"], api)
        exchange = _Exchange(self._client, method, target.encode("latin-1"), headers, body, started)
        if api is None:
            await exchange.relay(receive, send)
            return
        call = Call(uuid.uuid4().hex, api, lease.turn, len(lease.calls) + 1, started_at_ns)
        lease.calls.append(call)
        head = {
            "request_id": call.rid,
            "turn": call.turn,
            "call_index": call.index,
            "api": api,
            "method": method,
            "path": path,
            "query": query,
            "upstream_url": self._recorded_as,
            "request_headers": _recordable(scope["headers"]),
            "started_at_ns": started_at_ns,
            "request_bytes": len(body),
        }
        try:
            lease.journal.request(head, body)
        except JournalError as error:
            call.status, call.error, lease.fault = 507, "unrecorded", str(error)
            await _answer(send, 507, error_body(api, 507, f"agentcap: {error}"))
            return
        lease.on_frame()
        await self._recorded(lease, call, exchange, receive, send)

    async def _recorded(self, lease: Lease, call: Call, exchange: _Exchange, receive: Receive, send: Send) -> None:
        lease.in_flight.add(call.rid)
        relay = asyncio.ensure_future(exchange.relay(receive, send, call.api, _Spool(lease, call)))
        self._running[call.rid] = relay
        try:
            await asyncio.wait({relay})
        except asyncio.CancelledError:
            # The server gives up on its open connections; what has come is recorded all the same.
            relay.cancel()
            await asyncio.wait({relay})
            raise
        finally:
            self._running.pop(call.rid, None)
            self._finish(lease, call, exchange, _ending(relay, exchange, lease))
            lease.in_flight.discard(call.rid)

    def _finish(self, lease: Lease, call: Call, exchange: _Exchange, error: str | None) -> None:
        call.status, call.error = exchange.status, error
        call.duration_ms = exchange.elapsed_ms()
        head = {
            "request_id": call.rid,
            "status_code": exchange.status,
            "response_headers": _recordable(exchange.headers),
            "ended_at_ns": time.time_ns(),
            "first_byte_ms": exchange.first_byte_ms,
            "duration_ms": call.duration_ms,
            "chunk_ms": exchange.chunk_ms,
            "response_bytes": exchange.received,
            "complete": error is None,
            "error": error,
        }
        try:
            lease.journal.response(head, b"".join(exchange.pending))
        except JournalError as fault:
            call.error, lease.fault = "unrecorded", str(fault)
        lease.on_frame()

    async def cut(self, lease: Lease) -> None:
        """End the lease's calls in flight; each is recorded as `shutdown` with what had arrived."""
        tasks = [self._running[rid] for rid in lease.in_flight if rid in self._running]
        for task in tasks:
            task.cancel()
        while lease.in_flight:
            await asyncio.sleep(0.01)

    def _request_headers(self, received: list[tuple[bytes, bytes]], api: str | None) -> list[tuple[bytes, bytes]]:
        dropped = _HOP_BY_HOP | KEY_HEADERS | {b"host", b"content-length"} | _named_in_connection(received)
        headers = [(name, value) for name, value in received if name not in dropped]
        key = self._upstream.key_header(api)
        return [*headers, key] if key else headers


class _Spool:
    """Write a long response to the journal early, so that its length does not matter to our memory."""

    def __init__(self, lease: Lease, call: Call) -> None:
        self._lease = lease
        self._rid = call.rid

    def write(self, exchange: _Exchange) -> None:
        # The status and headers are for a reader who finds no end of the response, after a crash.
        head = {
            "request_id": self._rid,
            "status_code": exchange.status,
            "response_headers": _recordable(exchange.headers),
            "first_byte_ms": exchange.first_byte_ms,
        }
        self._lease.journal.chunk(head, b"".join(exchange.pending))


class _Exchange:
    """The two halves of one forwarded call, and what is known of it so far. Times are ms since the request began."""

    def __init__(
        self,
        client: UpstreamClient,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        started: float,
    ) -> None:
        self._client, self._method, self._target, self._headers, self._body = client, method, target, headers, body
        self._started = started
        self._begun = False
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.error: str | None = None
        self.first_byte_ms: float | None = None
        self.chunk_ms: list[float] = []
        self.received = 0
        self.pending: list[bytes] = []

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 3)

    async def relay(self, receive: Receive, send: Send, api: str | None = None, spool: _Spool | None = None) -> None:
        """Forward until the response or the agent's connection ends; the outcome is in `status` and `error`."""
        forward = asyncio.ensure_future(self._forward(send, spool))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({forward, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not forward.done():
                self.error = "client_gone"
                return
            forward.result()
        except httpx.ConnectTimeout as error:
            await self._fail(send, api, "upstream_timeout", f"the upstream did not accept a connection: {error}")
        except httpx.ConnectError as error:
            await self._fail(send, api, "upstream_refused", f"the upstream is not reachable: {error}")
        except httpx.TimeoutException as error:
            await self._fail(send, api, "upstream_timeout", f"the upstream fell silent: {error!r}")
        except httpx.ReadError as error:
            await self._fail(send, api, "upstream_reset", f"the upstream broke the connection: {error!r}")
        except httpx.TransportError as error:
            await self._fail(send, api, _kind_of(error), f"the upstream's answer broke off: {error}")
        finally:
            for task in (forward, gone):
                task.cancel()
            await asyncio.gather(forward, gone, return_exceptions=True)

    async def _forward(self, send: Send, spool: _Spool | None) -> None:
        spooled = 0
        async with self._client.send(self._method, self._target, self._headers, self._body) as response:
            self.status = response.status_code
            self.headers = [(name.lower(), value) for name, value in response.headers.raw]
            dropped = _HOP_BY_HOP | _named_in_connection(self.headers)
            passed = [(name, value) for name, value in self.headers if name not in dropped]
            await send({"type": "http.response.start", "status": self.status, "headers": passed})
            self._begun = True
            async for chunk in response.aiter_raw():
                now = self.elapsed_ms()
                if self.first_byte_ms is None:
                    self.first_byte_ms = now
                self.received += len(chunk)
                if spool:
                    self.chunk_ms.append(now)
                    self.pending.append(chunk)
                    spooled += len(chunk)
                    if spooled >= _SPOOL_BYTES:
                        spool.write(self)
                        self.pending, spooled = [], 0
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _fail(self, send: Send, api: str | None, kind: str, message: str) -> None:
        self.error = kind
        if self._begun:
            # The agent must see a broken answer, not a short one: uvicorn cuts a response that is left unfinished.
            return
        body = error_body(api, 502, f"agentcap: {message}")
        self.status, self.headers = 502, [(b"content-type", b"application/json")]
        self.pending, self.received = [body], len(body)
        await _answer(send, 502, body)


def _ending(relay: asyncio.Task[None], exchange: _Exchange, lease: Lease) -> str | None:
    """Name what ended a call before its answer was complete, or None."""
    if not relay.done() or relay.cancelled():
        return "shutdown"
    try:
        relay.result()
    except JournalError as error:
        lease.fault = str(error)
        return "unrecorded"
    except Exception:
        # The ASGI server raises on what it cannot pass on, such as a status that HTTP does not have.
        return "bad_gateway"
    return exchange.error


def _kind_of(error: httpx.TransportError) -> str:
    # One class stands for two things, an upstream that hangs up early and one that does not speak HTTP.
    hung_up = isinstance(error, httpx.RemoteProtocolError) and re.search("disconnected|closed connection", str(error))
    return "upstream_reset" if hung_up or isinstance(error, httpx.WriteError | httpx.CloseError) else "bad_gateway"


async def _read_body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _named_in_connection(headers: list[tuple[bytes, bytes]]) -> set[bytes]:
    named = (value for name, value in headers if name == b"connection")
    return {token.strip().lower() for value in named for token in value.split(b",")}


def _recordable(headers: list[tuple[bytes, bytes]]) -> list[list[Any]]:
    return [[k.decode("latin-1"), v.decode("latin-1")] for k, v in headers if k not in _UNRECORDED_HEADERS]
