"""The body of a request, as its agent's connection reads it."""

from __future__ import annotations

import asyncio
from typing import cast

from starlette.types import Receive, Scope

_EXTENSION = "agentcap.body"


class ClientGone(Exception):
    """Say that the agent closed its connection before its request was complete."""


class IncomingBody:
    """Collect the pieces of one body, which are never copied: its connection adds them, the endpoint takes them.

    ASGI's own way, a message for each piece, has reading stopped and begun again around each, and copies them twice.
    """

    __slots__ = ("_complete", "_gone", "_pieces", "_waiter")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._complete = self._gone = False
        self._waiter: asyncio.Future[None] | None = None

    def put_into(self, scope: Scope) -> None:
        """Let the endpoint find this body in its request's scope."""
        scope["extensions"][_EXTENSION] = self

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def complete(self) -> None:
        self._complete = True
        self._wake()

    def abandon(self) -> None:
        """Take in that no more will come."""
        self._gone = True
        self._wake()

    async def read(self) -> list[bytes]:
        """Wait for the whole body; raise ClientGone when it does not come."""
        if not (self._complete or self._gone):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._complete:
            raise ClientGone
        return self._pieces

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def read_body(scope: Scope, receive: Receive) -> list[bytes]:
    """Return the pieces of a request's body; raise ClientGone when it does not come whole."""
    collected = scope.get("extensions", {}).get(_EXTENSION)
    if collected is not None:
        return await cast(IncomingBody, collected).read()
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if message["body"]:
            pieces.append(message["body"])
        if not message["more_body"]:
            return pieces
