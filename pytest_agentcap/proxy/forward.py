"""The proxy's endpoint: who may call, what is recorded, and where it goes; bodies are never looked into."""

from __future__ import annotations

import asyncio
import os
import time

from starlette.types import Receive, Scope, Send

from pytest_agentcap.proxy.apis import UnsafePath, Upstream, api_of, error_body, key_style, without_key
from pytest_agentcap.proxy.departure import Departure
from pytest_agentcap.proxy.exchange import Exchange, answer
from pytest_agentcap.proxy.headers import for_the_upstream, recordable
from pytest_agentcap.proxy.incoming import ClientGone, read_body
from pytest_agentcap.proxy.leases import Call, Lease, Leases
from pytest_agentcap.proxy.recording import Recording
from pytest_agentcap.proxy.wire import Origin, Outgoing, Pace, Transport

# Clients of OpenAI and Anthropic try a 429 again unless they are told that it is no use.
_FINAL = [(b"x-should-retry", b"false")]


class Forwarder:
    """Forward `/<lease>/<path>` to the upstream, and record what is a call to a model."""

    def __init__(self, upstream: Upstream, leases: Leases, transport: Transport, recorded_as: str) -> None:
        self._upstream = upstream
        self._leases = leases
        self._transport = transport
        self._recorded_as = recorded_as

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at_ns, started = time.time_ns(), time.perf_counter()
        raw_path = scope["raw_path"].decode("latin-1")
        lease, path = self._leases.resolve(raw_path)
        method = scope["method"]
        api = api_of(method, path)
        style = key_style(api, path, scope["headers"])
        query = scope["query_string"].decode("latin-1")
        if style == "gemini":
            query = without_key(query)
        try:
            target = self._upstream.target(path if lease else raw_path, query)
        except UnsafePath as error:
            await answer(send, 400, error_body(style, 400, str(error)))
            return
        if lease is None:
            await answer(send, 403, error_body(style, 403, "this address has no valid lease"))
            return
        try:
            body = await read_body(scope, receive)
        except ClientGone:
            return
        if lease.gate is not None and api is not None:
            await lease.gate()
        if lease.revoked:
            self._leases.refused += 1
            await answer(send, 403, error_body(style, 403, "this lease was revoked"))
            return
        if lease.closed is not None and api is not None:
            await answer(send, 403, error_body(style, 403, lease.closed))
            return
        headers = for_the_upstream(scope["headers"], self._upstream.key_header(style))
        if api is None:
            lease.unrecorded[f"{method} {path}"] += 1
            origin = Origin(lease.token, lease.turn, None, path, query)
            request = Outgoing(method, target.encode("latin-1"), headers, body, origin)
            await self._relay(lease, Exchange(started, style), request, Departure.of(scope, receive), send)
            return
        if lease.allowance is not None and (refusal := lease.allowance.refusal()):
            await answer(send, 429, error_body(style, 429, f"agentcap: {refusal}"), _FINAL)
            return
        call = Call(os.urandom(16).hex(), api, lease.turn, lease.next_index(), started_at_ns)
        lease.calls.append(call)
        if lease.on_start is not None:
            lease.on_start(call)
        head = {
            "request_id": call.rid,
            "turn": call.turn,
            "call_index": call.index,
            "api": api,
            "method": method,
            "path": path,
            "query": query,
            "upstream_url": self._recorded_as,
            "request_headers": recordable(scope["headers"]),
            "started_at_ns": started_at_ns,
            "request_read_ms": round((time.perf_counter() - started) * 1000, 3),
            "request_bytes": sum(map(len, body)),
            **lease.marks,
        }
        exchange = Exchange(started, style, Recording(lease, call, head, body))
        lease.in_flight[call.rid] = lease.journal
        origin = Origin(lease.token, lease.turn, api, path, query, Pace(lease.waiting, call))
        request = Outgoing(method, target.encode("latin-1"), headers, body, origin)
        try:
            await self._relay(lease, exchange, request, Departure.of(scope, receive), send)
        finally:
            del lease.in_flight[call.rid]
            if lease.on_end is not None:
                lease.on_end(call)

    async def cut(self, lease: Lease) -> None:
        """End what is being forwarded for a lease; each call is recorded as `shutdown` with what had arrived."""
        for relay in list(lease.running):
            relay.cut("shutdown")
        while lease.running:
            await asyncio.sleep(0.01)

    async def _relay(
        self, lease: Lease, exchange: Exchange, request: Outgoing, departure: Departure, send: Send
    ) -> None:
        lease.running.add(exchange)
        try:
            await exchange.relay(self._transport, request, departure, send)
        finally:
            lease.running.discard(exchange)
