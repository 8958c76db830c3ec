"""A thread with an event loop for servers, and a socket whose connections speak uvicorn's protocol."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import uvicorn
from uvicorn.server import ServerState

_GRACE_S = 1.0
_TICK_S = 0.002


class Listener:
    """Answer on a bound socket until it is closed; to be used in one event loop.

    uvicorn's own server looks ten times a second whether it is to end, and sleeps a tenth of a second when it does.
    Every session would wait for both.
    """

    def __init__(self, config: uvicorn.Config, sock: socket.socket) -> None:
        self._config, self._socket = config, sock
        self._state = ServerState()

    async def open(self) -> None:
        """Take connections from now on. Raises OSError when the socket cannot listen."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=self._socket, backlog=self._config.backlog)

    async def close(self) -> None:
        """Take no more connections; let answers be sent to their ends for a second, then cancel them."""
        self._server.close()
        self._socket.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _GRACE_S
        # At least once: an event loop lets go of a socket only when it comes to it.
        await asyncio.sleep(0)
        while (self._state.connections or self._state.tasks) and loop.time() < deadline:
            await asyncio.sleep(_TICK_S)
        if unfinished := list(self._state.tasks):
            for task in unfinished:
                task.cancel()
            await asyncio.wait(unfinished, timeout=_GRACE_S)

    def _protocol(self) -> asyncio.Protocol:
        protocol: type[asyncio.Protocol] = self._config.http_protocol_class
        return protocol(config=self._config, server_state=self._state, app_state={})  # type: ignore[call-arg]


class LoopThread:
    """Run an event loop in a thread until it is told to stop.

    `serve` is given what to await once it is up; that returns when it is to end.
    """

    def __init__(self, serve: Callable[[Callable[[], Awaitable[None]]], Coroutine[Any, Any, None]], name: str) -> None:
        self._serve = serve
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def loop(self, patience_s: float | None = None) -> asyncio.AbstractEventLoop:
        """Return the loop once `serve` is up; raises what broke it before, or TimeoutError."""
        return self._ready.result(patience_s)

    def stop(self, patience_s: float) -> None:
        """Have `serve` end, and wait for the thread; safe to call twice."""
        # At Python's end no other thread runs.
        if self._thread.is_alive() and not sys.is_finalizing():
            self._ready.result().call_soon_threadsafe(self._stopping.set)
            self._thread.join(patience_s)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(self._serve(self._running))
        except BaseException as error:
            if self._ready.done():
                raise
            # Somebody waits for the server to come up, and is told why it does not.
            self._ready.set_exception(error)

    async def _running(self) -> None:
        self._stopping = asyncio.Event()
        self._ready.set_result(asyncio.get_running_loop())
        await self._stopping.wait()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
