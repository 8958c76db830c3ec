"""One session's replay: which of its requests are answered from the recording, and when that ends."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Literal

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.proxy.wire import Origin
from pytest_agentcap.replay.matcher import Matcher, Miss

Mode = Literal["strict", "fallthrough", "prefix"]
MODES: tuple[Mode, ...] = ("strict", "fallthrough", "prefix")


class _Live(Enum):
    LIVE = "the model itself answers"


LIVE: Final = _Live.LIVE


class SessionReplay:
    """Answer the requests of one session; the proxy's thread asks, the session's reads what became of it.

    In the mode `strict` a miss is the end: `on_miss` is told, and every further request is refused. In `fallthrough`
    each request that is not recorded is for the model, in `prefix` so is every later one. With `fork_at` the requests
    of that turn and later ones are for the model, whatever is recorded.
    """

    def __init__(self, matcher: Matcher, mode: Mode, fork_at: int | None, on_miss: Callable[[str], None]) -> None:
        self._matcher, self._mode, self._fork_at, self._on_miss = matcher, mode, fork_at, on_miss
        self._diverged = False
        self._told: str | None = None
        self.difference: tuple[str, ...] = ()
        self.replayed = self.live = 0

    def answer(self, origin: Origin, body: bytes) -> CallRecord | _Live | str:
        """Return the recorded call that answers a request, or LIVE, or in one line why there is no answer."""
        if self._told is not None:
            return self._told
        if self._fork_at is not None and origin.turn >= self._fork_at:
            self._diverged = True
        found = LIVE if self._diverged else self._matcher.find(origin.path, origin.query, body)
        if isinstance(found, Miss):
            if self._mode == "strict":
                return self._missed(origin, found)
            self._diverged = self._mode == "prefix"
            found = LIVE
        if isinstance(found, CallRecord):
            self.replayed += 1
        else:
            self.live += 1
        return found

    @property
    def note(self) -> str:
        """Say what was answered how, and what of the recording was not asked for."""
        told = [f"{self.replayed} calls answered from the recording"]
        told += [f"{self.live} by the model"] if self.live else []
        left = self._matcher.unasked
        told += [f"{left} recorded calls were not asked for"] if left > 0 else []
        return "replay: " + ", ".join(told)

    def _missed(self, origin: Origin, miss: Miss) -> str:
        number = self.replayed + 1
        self._told = f"call {number} (turn {origin.turn}, {origin.api}) is not in the recording: {miss.summary}"
        self.difference = miss.difference
        self._on_miss(f"replay: {self._told}")
        return self._told
