"""Serve an ASGI application on a loopback socket from a thread."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from concurrent.futures import Future

import uvicorn
from starlette.types import ASGIApp

from pytest_agentcap.listening import Listener, new_loop

_START_S, _STOP_S = 30.0, 5.0


class ServerThread:
    """Answer in a thread, on a port of 127.0.0.1 that the system chose.

    Raises RuntimeError when the server does not come up.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        try:
            self._loop = self._ready.result(_START_S)
        except (OSError, TimeoutError) as error:
            self._socket.close()
            raise RuntimeError(f"{name}: the server on {self.url} did not start: {error}") from error

    def close(self) -> None:
        """Stop serving and wait for the thread, cutting connections that stay open; safe to call twice."""
        if self._thread.is_alive() and not sys.is_finalizing():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        listener = Listener(self._config, self._socket)
        await listener.open()
        self._stopping = asyncio.Event()
        self._ready.set_result(asyncio.get_running_loop())
        await self._stopping.wait()
        await listener.close()
