"""Serve an ASGI application on a loopback socket from a thread."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.types import ASGIApp

from pytest_agentcap.listening import Listener, LoopThread

_START_S, _STOP_S = 30.0, 5.0


class ServerThread:
    """Answer in a thread, on a port of 127.0.0.1 that the system chose.

    Raises RuntimeError when the server does not come up.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        self._thread = LoopThread(self._serve, name)
        try:
            self._thread.loop(_START_S)
        except (OSError, TimeoutError) as error:
            self._socket.close()
            raise RuntimeError(f"{name}: the server on {self.url} did not start: {error}") from error

    def close(self) -> None:
        """Stop serving and wait for the thread, cutting connections that stay open; safe to call twice."""
        self._thread.stop(_STOP_S)

    async def _serve(self, running: Callable[[], Awaitable[None]]) -> None:
        listener = Listener(self._config, self._socket)
        await listener.open()
        await running()
        await listener.close()
