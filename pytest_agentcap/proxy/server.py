"""The capture proxy of one worker: uvicorn in a thread, one endpoint per socket that a sandbox hands in."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, TypeVar

import uvicorn

from pytest_agentcap.listening import Listener, LoopThread
from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.client import open_transport
from pytest_agentcap.proxy.forward import Forwarder
from pytest_agentcap.proxy.heap import keep_freed_memory
from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.proxy.leases import Lease, Leases, new_token
from pytest_agentcap.proxy.ratelimit import PacedTransport, RateLimit
from pytest_agentcap.proxy.wire import Transport

_T = TypeVar("_T")
DRAIN_S = 2.0
JOIN_S = 10.0


class Endpoint:
    """One socket that the proxy answers on."""

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener, self._loop = listener, loop

    def close(self) -> None:
        # A fixture that pytest left open, for a second Ctrl-C, is closed at Python's end: no other thread runs then.
        if not sys.is_finalizing():
            asyncio.run_coroutine_threadsafe(self._listener.close(), self._loop).result(JOIN_S)


class CaptureProxy:
    """Run the proxy's event loop in a thread of its own; every public method may be called from any other thread."""

    def __init__(
        self,
        upstream: Upstream,
        recorded_as: str | None = None,
        transport: Callable[[str], Transport] = open_transport,
        limit: RateLimit | None = None,
    ) -> None:
        """Start the proxy; `recorded_as` stands in captures for the upstream's URL, when that is an embedded server.

        `transport` opens what speaks to the upstream's origin; it is called, and used, in the proxy's event loop.
        `limit` is shared with other proxies of this machine; without one, calls go as they come.

        Raises OSError when the certificates that an https upstream is checked against cannot be read.
        """
        keep_freed_memory()
        self.upstream = upstream
        self.recorded_as = recorded_as or upstream.url
        self.leases = Leases()
        self._open_transport = transport
        self._limit = limit
        self._thread = LoopThread(self._serve, "agentcap-proxy")
        self._loop = self._thread.loop()

    def listen(self, sock: socket.socket) -> Endpoint:
        """Serve a bound socket until the endpoint is closed. Raises OSError when it cannot listen."""
        listener = Listener(self._config(), sock)
        self._submit(listener.open()).result(JOIN_S)
        return Endpoint(listener, self._loop)

    def grant(self, journal: Path, session: dict[str, Any]) -> Lease:
        """Open a session's journal and let its calls through under a new lease.

        Raises OSError when the journal cannot be made.
        """
        token = new_token()
        return self.leases.grant(Journal(journal, {**session, "lease": token}), token)

    def revoke(self, lease: Lease) -> None:
        """Take the lease back: give what is in flight up to 2 s, cut the rest as `shutdown`, close the journal."""
        self.leases.revoke(lease)
        if not sys.is_finalizing():
            self._submit(self._drain(lease)).result()
        lease.journal.close()

    def close(self) -> None:
        """Stop the event loop and its thread; endpoints must be closed before."""
        self._thread.stop(JOIN_S)

    async def _drain(self, lease: Lease) -> None:
        deadline = self._loop.time() + DRAIN_S
        while lease.running and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        await self._forwarder.cut(lease)

    async def _serve(self, running: Callable[[], Awaitable[None]]) -> None:
        transport = self._open_transport(self.upstream.origin)
        if self._limit is not None:
            transport = PacedTransport(transport, self._limit)
        self._forwarder = Forwarder(self.upstream, self.leases, transport, self.recorded_as)
        await running()
        await transport.aclose()

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._forwarder,
            http=_http_protocol(),
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
        )

    def _submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def _http_protocol() -> type[asyncio.Protocol] | Literal["h11"]:
    """Return what parses requests; h11, where httptools is not to be had, tells targets and bodies as they are."""
    try:
        from pytest_agentcap.proxy.protocol import AgentProtocol
    except ImportError:
        return "h11"
    return AgentProtocol
