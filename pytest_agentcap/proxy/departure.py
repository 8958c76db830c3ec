"""How a call learns that its agent has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from starlette.types import Receive, Scope

_EXTENSION = "agentcap.departure"


class Departure:
    """Tell who waits for it that an agent has closed its connection.

    The connection itself tells it. ASGI's own way, to wait for a message that says so, takes another task for each
    call; it is gone where uvicorn has no httptools.
    """

    def __init__(self) -> None:
        self._gone = False
        self._watching: set[Callable[[], None]] = set()
        self._waiting: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Departure:
        """Return the departure of the agent that a request came from."""
        told = scope.get("extensions", {}).get(_EXTENSION)
        if told is not None:
            return cast(Departure, told)
        departure = cls()
        departure._waiting = asyncio.ensure_future(departure._wait(receive))
        return departure

    def put_into(self, scope: Scope) -> None:
        """Let the endpoint find this departure in a request's scope."""
        scope["extensions"] = {_EXTENSION: self}

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when the agent leaves, or now if it has left."""
        if self._gone:
            tell()
        else:
            self._watching.add(tell)

    def unwatch(self, tell: Callable[[], None]) -> None:
        self._watching.discard(tell)
        if self._waiting is not None:
            self._waiting.cancel()

    def happen(self) -> None:
        self._gone = True
        for tell in list(self._watching):
            tell()

    async def _wait(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.happen()
