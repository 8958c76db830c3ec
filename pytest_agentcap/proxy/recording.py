"""What of one call goes into its session's journal, and when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pytest_agentcap.proxy.exchange import Exchange
from pytest_agentcap.proxy.headers import recordable
from pytest_agentcap.proxy.journal import JournalError
from pytest_agentcap.proxy.leases import Call, Lease
from pytest_agentcap.runs.frames import CHUNK, REQUEST, RESPONSE


class Recording:
    """Record one call, in the journal that its lease had when it came."""

    def __init__(self, lease: Lease, call: Call, head: dict[str, Any], body: Sequence[bytes]) -> None:
        self._lease, self._call = lease, call
        self._journal = lease.journal
        self._request = head, body
        self._requested = False

    async def begin(self) -> None:
        head, body = self._request
        self._requested = True
        try:
            await self._journal.written(REQUEST, head, *body)
        except JournalError as error:
            self._requested = False
            self._call.status = 507
            self._lose(error)
            raise

    async def part(self, exchange: Exchange, pieces: Sequence[bytes]) -> None:
        # The status and headers are for a reader who finds no end of the response, after a crash.
        head = {
            "request_id": self._call.rid,
            "status_code": exchange.status,
            "response_headers": recordable(exchange.headers),
            "first_byte_ms": exchange.first_byte_ms,
        }
        try:
            await self._journal.written(CHUNK, head, *pieces)
        except JournalError as error:
            self._lose(error)
            raise

    async def end(self, exchange: Exchange) -> None:
        try:
            await self._journal.written(RESPONSE, self._outcome(exchange), *exchange.pending)
        except JournalError as error:
            self._lose(error)

    def end_now(self, exchange: Exchange) -> None:
        if not self._requested:
            return
        try:
            self._journal.response(self._outcome(exchange), *exchange.pending)
        except JournalError as error:
            self._lose(error)

    def _outcome(self, exchange: Exchange) -> dict[str, Any]:
        call = self._call
        call.status, call.error, call.duration_ms = exchange.status, exchange.error, exchange.elapsed_ms()
        return {
            "request_id": call.rid,
            "status_code": exchange.status,
            "response_headers": recordable(exchange.headers),
            "ended_at_ns": time.time_ns(),
            "connected_ms": exchange.connected_ms,
            "first_byte_ms": exchange.first_byte_ms,
            "duration_ms": call.duration_ms,
            "chunk_ms": exchange.chunk_ms,
            "chunk_bytes": exchange.chunk_bytes,
            "response_bytes": exchange.received,
            "complete": exchange.error is None,
            "error": exchange.error,
            **({"replayed_from": exchange.replayed_from} if exchange.replayed_from else {}),
            **({} if call.waited_ms is None else {"waited_ms": call.waited_ms}),
        }

    def _lose(self, error: JournalError) -> None:
        self._call.error, self._lease.fault = "unrecorded", str(error)
