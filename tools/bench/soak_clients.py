"""Clients that call, and leave whenever they like."""

from __future__ import annotations

import asyncio
import enum
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from messages import make_request

_ECHO = re.compile(rb"\r\nx-bench-id: *([0-9a-z-]+)", re.IGNORECASE)
_PATIENCE_S = 60.0


class Kind(enum.Enum):
    """How a client takes its answer."""

    WHOLE = "waits for a JSON answer"
    STREAM = "reads a stream to its end"
    LEAVES_STREAM = "leaves in the middle of a stream"
    LEAVES_WAITING = "leaves before the answer"
    LEAVES_SENDING = "leaves in the middle of its request"


_SHARES = {
    Kind.WHOLE: 40,
    Kind.STREAM: 20,
    Kind.LEAVES_STREAM: 20,
    Kind.LEAVES_WAITING: 10,
    Kind.LEAVES_SENDING: 10,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make; `number` travels in its body and in a header that the upstream sends back."""

    number: str
    kind: Kind
    size: int
    patience_s: float

    def request(self) -> bytes:
        streamed = self.kind in (Kind.STREAM, Kind.LEAVES_STREAM)
        body = {"model": "bench", "stream": streamed, "bench_id": self.number, "padding": "é" * (self.size // 2)}
        headers = {"x-bench-id": self.number}
        if streamed:
            headers["x-bench"] = "12 100 3"
        return make_request(json.dumps(body, ensure_ascii=False).encode(), headers)


@dataclass(slots=True)
class Tally:
    """What the clients saw: who read an answer to its end, and what was wrong with an answer."""

    asked: int = 0
    finished: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def make_calls(prefix: str, count: int, chance: random.Random) -> Iterator[Call]:
    kinds, weights = list(_SHARES), list(_SHARES.values())
    for ordinal in range(count):
        kind = chance.choices(kinds, weights)[0]
        yield Call(f"{prefix}-{ordinal}", kind, chance.choice((200, 2_000, 60_000)), chance.uniform(0, 0.04))


async def run_clients(port: int, calls: Iterator[Call], clients: int, tally: Tally) -> None:
    """Make all calls from some clients at once; a proxy that goes away ends them, and the tally says how far they were.

    An answer to another call than the one that was asked is a fault.
    """
    await asyncio.gather(*(_client(port, calls, tally) for _ in range(clients)))


async def _client(port: int, calls: Iterator[Call], tally: Tally) -> None:
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    # All clients draw from one iterator: nothing but the event loop's single thread comes between them.
    for call in calls:
        tally.asked += 1
        try:
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            async with asyncio.timeout(_PATIENCE_S):
                stays = await _make(call, *connection, tally)
        except (OSError, asyncio.IncompleteReadError) as error:
            tally.faults.append(f"call {call.number} ({call.kind.value}): {error!r}")
            stays = False
        if not stays and connection:
            connection[1].transport.abort()
            connection = None
    if connection:
        connection[1].close()


async def _make(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally) -> bool:
    """Make one call; tell whether the connection can be used again."""
    request = call.request()
    if call.kind is Kind.LEAVES_SENDING:
        writer.write(request[: len(request) - 1 - call.size // 4])
        await asyncio.sleep(call.patience_s / 8)
        return False
    writer.write(request)
    if call.kind is Kind.LEAVES_WAITING:
        await asyncio.sleep(call.patience_s / 8)
        return False
    head = await reader.readuntil(b"\r\n\r\n")
    if call.kind is Kind.LEAVES_STREAM:
        await asyncio.sleep(call.patience_s)
        return False
    echo = _ECHO.search(head)
    if head[9:12] != b"200" or not echo or echo[1].decode() != call.number:
        tally.faults.append(f"call {call.number} got another answer than its own: {head[:200]!r}")
        return False
    if call.kind is Kind.STREAM:
        await reader.readuntil(b"\r\n0\r\n\r\n")
    else:
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if not length:
            tally.faults.append(f"call {call.number}: a JSON answer lost its content-length")
            return False
        await reader.readexactly(int(length[1]))
    tally.finished.add(call.number)
    return True
