"""A task's `max_commands`: tool calls are counted as the model asks for them, and the proxy takes no call beyond."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.conversation.read import read_call
from pytest_agentcap.conversation.records import record_of_capture
from pytest_agentcap.runs.captures import Capture, CaptureError

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call, Lease

_SETTLE_S = 5.0
_POLL_S = 0.05


class CommandLimit(Exception):
    """Say how many tool calls were asked for, and how many were allowed."""


class CommandWatch:
    """Count the tool calls that answers of one lease ask for; with more than `most`, the lease is closed.

    The proxy never looks into a body: answers are read from their pair files, a moment after they went by. Once there
    were as many calls as tool calls are allowed, each further one waits for that moment.
    """

    def __init__(self, lease: Lease, captures: Path, most: int) -> None:
        self._lease, self._captures, self._most = lease, captures, most
        self._counted: dict[str, int] = {}
        lease.gate = self.admitted

    async def admitted(self) -> None:
        """Wait, in the proxy, until what came before a call is counted; `check` does that in the session's thread."""
        deadline = time.monotonic() + _SETTLE_S
        while len(self._lease.calls) > self._most and self._open() and time.monotonic() < deadline:
            if self._lease.closed is not None:
                return
            await asyncio.sleep(_POLL_S)

    def check(self) -> None:
        """Count what has ended since; raise CommandLimit when that is too much."""
        for call in self._open():
            count = self._asked_for(call)
            if count is not None:
                self._counted[call.rid] = count
        used = sum(self._counted.values())
        if used > self._most:
            self._lease.closed = f"max_commands: the model asked for {used} tool calls, and {self._most} are allowed"
            raise CommandLimit(self._lease.closed)

    def settle(self) -> None:
        """Do the same once a turn has ended, and wait for the pair files of its last calls."""
        deadline = time.monotonic() + _SETTLE_S
        self.check()
        while self._open() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self.check()

    def _open(self) -> list[Call]:
        ended = (call for call in tuple(self._lease.calls) if call.duration_ms is not None or call.error)
        return [call for call in ended if call.rid not in self._counted]

    def _asked_for(self, call: Call) -> int | None:
        if not (self._captures / f"{call.rid}.response.json").is_file():
            return None
        try:
            said = read_call(record_of_capture(Capture(call.rid, self._captures), {})).said
        except (CaptureError, FileNotFoundError):
            return None
        return len(said.tool_calls) if said else 0
