"""The two halves of one forwarded call: from the upstream to the agent, teed in the branch that forwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from starlette.types import Send

from pytest_agentcap.proxy.apis import error_body
from pytest_agentcap.proxy.departure import Departure
from pytest_agentcap.proxy.headers import Headers, without_hop_by_hop
from pytest_agentcap.proxy.journal import JournalError
from pytest_agentcap.proxy.wire import Outgoing, Transport, UpstreamFailure

SPOOL_BYTES = 1 << 18


class Record(Protocol):
    """What is kept of one call. A method that is cancelled ends when what it was given is kept all the same."""

    async def begin(self) -> None:
        """Keep the request; raise JournalError when that is not possible."""

    async def part(self, exchange: Exchange, pieces: Sequence[bytes]) -> None:
        """Keep a part of an answer that goes on; raise JournalError when that is not possible."""

    async def end(self, exchange: Exchange) -> None:
        """Keep how the call ended, and what is pending of its answer."""

    def end_now(self, exchange: Exchange) -> None:
        """Do so at once, whoever has to wait: for a call that was cut."""


class Exchange:
    """Forward one request and know what became of it. Times are ms since the request's head arrived.

    `pending` holds what of the answer is not in the record yet, which is given each further 256 KB of it; without a
    record nothing is kept. The record has the request before anything goes upstream, and the end before the agent can
    know that its answer is complete.
    """

    def __init__(self, started: float, api: str | None, record: Record | None = None) -> None:
        self._started, self._api, self._record = started, api, record
        self._task: asyncio.Task[object] | None = None
        self._begun = self._done = False
        self.status: int | None = None
        self.headers: Headers = []
        self.replayed_from: str | None = None
        self.error: str | None = None
        self.connected_ms: float | None = None
        self.first_byte_ms: float | None = None
        self.chunk_ms: list[float] = []
        self.chunk_bytes: list[int] = []
        self.received = self._unrecorded = 0
        self.pending: list[bytes] = []

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 3)

    async def relay(self, transport: Transport, request: Outgoing, departure: Departure, send: Send) -> None:
        """Forward until the answer or the agent's connection ends; the outcome is in `status` and `error`."""
        task = self._task = asyncio.current_task()
        assert task is not None
        departure.watch(self._abandoned)
        try:
            if self._record is None or await self._recorded(self._record, send):
                await self._forward(transport, request, send)
        except asyncio.CancelledError:
            if self.error is None:
                self.error = "shutdown"
                raise
            task.uncancel()
        except UpstreamFailure as failure:
            await self._fail(send, failure)
        except JournalError:
            self.error = "unrecorded"
        except Exception:
            # The ASGI server raises on what it cannot pass on, such as a status that HTTP does not have.
            self.error = self.error or "bad_gateway"
        finally:
            departure.unwatch(self._abandoned)
            if not self._done and self._record is not None:
                self._record.end_now(self)
            self._done = True

    def cut(self, error: str) -> None:
        """End the exchange from outside; it is over as soon as the event loop comes to it."""
        if not self._done and self._task is not None:
            self.error = self.error or error
            self._task.cancel()

    def _abandoned(self) -> None:
        self.cut("client_gone")

    async def _recorded(self, record: Record, send: Send) -> bool:
        """Record the request; answer in the upstream's place, and return False, when that is not possible."""
        try:
            await record.begin()
        except JournalError as error:
            self.status, self.error = 507, "unrecorded"
            await answer(send, 507, error_body(self._api, 507, f"agentcap: {error}"))
            return False
        return True

    async def _forward(self, transport: Transport, request: Outgoing, send: Send) -> None:
        reply = await transport.send(request, self._connected)
        try:
            self.status, self.headers, self.replayed_from = reply.status, reply.headers, reply.replayed_from
            headers = without_hop_by_hop(self.headers)
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            self._begun = True
            while True:
                piece = await reply.read()
                if piece:
                    await self._keep(piece)
                if reply.at_end:
                    break
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._end()
            await send({"type": "http.response.body", "body": piece})
        finally:
            reply.close()

    async def _keep(self, piece: bytes) -> None:
        now = self.elapsed_ms()
        if self.first_byte_ms is None:
            self.first_byte_ms = now
        self.received += len(piece)
        if self._record is None:
            return
        self.chunk_ms.append(now)
        self.chunk_bytes.append(len(piece))
        self.pending.append(piece)
        self._unrecorded += len(piece)
        if self._unrecorded >= SPOOL_BYTES:
            pieces, self.pending, self._unrecorded = self.pending, [], 0
            await self._record.part(self, pieces)

    async def _end(self) -> None:
        """Record that all of the answer is here: an agent that leaves from now on has had it."""
        self._done = True
        if self._record is not None:
            await self._record.end(self)

    def _connected(self) -> None:
        self.connected_ms = self.elapsed_ms()

    async def _fail(self, send: Send, failure: UpstreamFailure) -> None:
        self.error = failure.kind
        if self._begun:
            # The agent must see a broken answer, not a short one: uvicorn cuts a response that is left unfinished.
            return
        body = error_body(self._api, 502, f"agentcap: {failure}")
        self.status, self.headers = 502, [(b"content-type", b"application/json")]
        self.pending, self.received = [body], len(body)
        await self._end()
        await answer(send, 502, body)


async def answer(send: Send, status: int, body: bytes, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answer in the upstream's place, with `more` headers than the body needs."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
