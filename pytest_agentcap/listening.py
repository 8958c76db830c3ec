"""A socket whose connections speak uvicorn's protocol."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from uvicorn.server import ServerState

_GRACE_S = 1.0
_TICK_S = 0.002


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop for a server: uvloop's, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


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
