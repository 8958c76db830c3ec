"""Serve an ASGI application on a loopback socket from a thread."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

_START_S, _STOP_S = 30.0, 5.0


class ServerThread:
    """Run uvicorn in a thread, on a port of 127.0.0.1 that the system chose.

    Raises RuntimeError when the server does not come up.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name=name, daemon=True
        )
        self._thread.start()
        self._await_start(name)

    def close(self) -> None:
        """Stop serving and wait for the thread, cutting connections that stay open; safe to call twice."""
        self._server.should_exit = True
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(_STOP_S)
        self._socket.close()

    def _await_start(self, name: str) -> None:
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"{name}: the server on {self.url} did not start")
            time.sleep(0.005)
