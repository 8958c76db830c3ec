"""The two halves of one forwarded call: from the upstream to the agent, teed in the branch that forwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import Send

from pytest_agentcap.proxy.apis import error_body
from pytest_agentcap.proxy.departure import Departure
from pytest_agentcap.proxy.headers import Headers, without_hop_by_hop
from pytest_agentcap.proxy.journal import JournalError
from pytest_agentcap.proxy.wire import Outgoing, Transport, UpstreamFailure

SPOOL_BYTES = 1 << 18


class Exchange:
    """Forward one request and know what became of it. Times are ms since the request's head arrived.

    `pending` holds what of the answer has not been given to `spool`, which is called for each further 256 KB of it;
    without a `spool` nothing is kept. `on_end` is called once, before the agent can know that its answer is complete.
    """

    def __init__(
        self,
        started: float,
        api: str | None,
        spool: Callable[[Exchange], None] | None = None,
        on_end: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._started, self._api, self._spool, self._on_end = started, api, spool, on_end
        self._task: asyncio.Task[object] | None = None
        self._begun = self._done = False
        self.status: int | None = None
        self.headers: Headers = []
        self.error: str | None = None
        self.connected_ms: float | None = None
        self.first_byte_ms: float | None = None
        self.chunk_ms: list[float] = []
        self.received = self._unspooled = 0
        self.pending: list[bytes] = []

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 3)

    async def relay(self, transport: Transport, request: Outgoing, departure: Departure, send: Send) -> None:
        """Forward until the answer or the agent's connection ends; the outcome is in `status` and `error`."""
        task = self._task = asyncio.current_task()
        assert task is not None
        departure.watch(self._abandoned)
        try:
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
            raise
        except Exception:
            # The ASGI server raises on what it cannot pass on, such as a status that HTTP does not have.
            self.error = self.error or "bad_gateway"
        finally:
            departure.unwatch(self._abandoned)
            self._end()

    def _end(self) -> None:
        if not self._done:
            self._done = True
            if self._on_end is not None:
                self._on_end(self)

    def cut(self, error: str) -> None:
        """End the exchange from outside; it is over as soon as the event loop comes to it."""
        if not self._done and self._task is not None:
            self.error = self.error or error
            self._task.cancel()

    def _abandoned(self) -> None:
        self.cut("client_gone")

    async def _forward(self, transport: Transport, request: Outgoing, send: Send) -> None:
        reply = await transport.send(request, self._connected)
        try:
            self.status, self.headers = reply.status, reply.headers
            headers = without_hop_by_hop(self.headers)
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            self._begun = True
            while True:
                piece = await reply.read()
                if piece:
                    self._keep(piece)
                if reply.at_end:
                    break
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            # All of it is here: an agent that leaves from now on has had its answer.
            self._end()
            await send({"type": "http.response.body", "body": piece})
        finally:
            reply.close()

    def _keep(self, piece: bytes) -> None:
        now = self.elapsed_ms()
        if self.first_byte_ms is None:
            self.first_byte_ms = now
        self.received += len(piece)
        if self._spool is not None:
            self.chunk_ms.append(now)
            self.pending.append(piece)
            self._unspooled += len(piece)
            if self._unspooled >= SPOOL_BYTES:
                self._spool(self)
                self.pending, self._unspooled = [], 0

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
        self._end()
        await answer(send, 502, body)


async def answer(send: Send, status: int, body: bytes) -> None:
    """Answer in the upstream's place."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
