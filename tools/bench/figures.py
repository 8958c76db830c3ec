"""The figures: what is done to one contender, and which numbers come of it.

Names of numbers are `<figure>.<what>`. With `settled_` a rate or a cost reaches to the moment when all pair files
exist; for who leaves none it is the same as the client's view.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from client import Load, LoadError, Target, run_load
from messages import make_body, make_request, make_stream_request
from processes import Server
from streams import Stream, run_streams

SETTLE_S = 180.0
_MEGABYTE = 1 << 20
_BIG_LOAD_BYTES = 400 * _MEGABYTE


@dataclass(slots=True)
class Subject:
    """One started contender; `server` is None for the direct way, `captures` where it leaves no pairs.

    `calls` counts what was ever asked of it, so that the number of pairs to wait for is known.
    """

    target: Target
    server: Server | None = None
    captures: Path | None = None
    calls: int = 0

    def cpu_s(self) -> float:
        return self.server.cpu_s() if self.server else 0.0

    async def settle(self) -> None:
        """Wait until each call has both files.

        Raises LoadError when some are missing after three minutes.
        """
        if self.captures is None:
            return
        deadline = time.monotonic() + SETTLE_S
        while True:
            started = time.monotonic()
            missing = self.calls - count_pairs(self.captures)
            now = time.monotonic()
            if missing <= 0:
                return
            if now > deadline:
                raise LoadError(f"{missing} of {self.calls} calls have no pair of files")
            # Looking costs processor time that the proxy needs: at most a fifth of the wait goes into it.
            await asyncio.sleep(max(0.02, 4 * (now - started)))


Figure = Callable[[Subject], Awaitable[dict[str, float]]]


def make_figures(scale: float) -> Mapping[str, Figure]:
    """Return the figures by name, in the order in which they are taken; `scale` multiplies how long each lasts."""
    small, stream = make_request(make_body(2_000)), make_stream_request(3, 200, 2)
    return {
        # First, while the memory of a fresh process shows: later figures leave theirs behind.
        "memory": lambda subject: _memory(subject),
        "c1": lambda subject: _load(subject, "c1", small, 1, 1.5 * scale),
        "c16": lambda subject: _load(subject, "c16", small, 16, 1.5 * scale),
        "c64": lambda subject: _load(subject, "c64", small, 64, 2.0 * scale),
        "200kb": lambda subject: _load(subject, "200kb", make_request(make_body(200_000)), 8, 1.5 * scale),
        "2mb": lambda subject: _load(subject, "2mb", make_request(make_body(2_000_000)), 8, 1.5 * scale),
        "ttfb": lambda subject: _first_byte(subject, stream, max(20, round(150 * scale))),
        "sse": lambda subject: _events(subject, max(50, round(400 * scale))),
        "mixed": lambda subject: _mixed(subject, max(50, round(400 * scale))),
    }


def count_pairs(folder: Path) -> int:
    """Count the calls that have both files anywhere below a folder."""
    requests = responses = 0
    for _, _, names in os.walk(folder):
        requests += sum(name.endswith(".request.json") and name[0] != "." for name in names)
        responses += sum(name.endswith(".response.json") and name[0] != "." for name in names)
    return min(requests, responses)


async def warm_up(subject: Subject, calls: int = 20) -> None:
    await _counted_load(subject, make_request(make_body(2_000)), 1, 30.0, calls)
    await subject.settle()


async def _counted_load(subject: Subject, request: bytes, connections: int, seconds: float, most: int) -> Load:
    load = await run_load(subject.target, request, connections, seconds, most)
    subject.calls += load.calls
    return load


async def _load(subject: Subject, name: str, request: bytes, connections: int, seconds: float) -> dict[str, float]:
    cpu = subject.cpu_s()
    most = max(connections, _BIG_LOAD_BYTES // len(request))
    load = await _counted_load(subject, request, connections, seconds, most)
    spent = subject.cpu_s() - cpu
    await subject.settle()
    settled_s = time.perf_counter() - load.started if subject.captures else load.elapsed_s
    settled_spent = subject.cpu_s() - cpu
    return {
        f"{name}.calls_per_s": load.calls / load.elapsed_s,
        f"{name}.settled_calls_per_s": load.calls / settled_s,
        f"{name}.cpu_us": spent / load.calls * 1e6,
        f"{name}.settled_cpu_us": settled_spent / load.calls * 1e6,
        f"{name}.p50_ms": _percentile(load.latencies_s, 50) * 1e3,
        f"{name}.p99_ms": _percentile(load.latencies_s, 99) * 1e3,
    }


async def _first_byte(subject: Subject, request: bytes, calls: int) -> dict[str, float]:
    times = [stream.first_byte_s for stream in await _counted_streams(subject, request, 1, calls)]
    await subject.settle()
    return {"ttfb.p50_ms": _percentile(times, 50) * 1e3, "ttfb.p99_ms": _percentile(times, 99) * 1e3}


async def _events(subject: Subject, events: int) -> dict[str, float]:
    cpu = subject.cpu_s()
    streams = await _counted_streams(subject, make_stream_request(events, 120, 5), 16)
    spent = subject.cpu_s() - cpu
    await subject.settle()
    delays = [delay for stream in streams for delay in stream.delays_s]
    return {
        "sse.cpu_us": spent / len(delays) * 1e6,
        "sse.p50_delay_ms": _percentile(delays, 50) * 1e3,
        "sse.worst_delay_ms": max(delays) * 1e3,
    }


async def _mixed(subject: Subject, events: int) -> dict[str, float]:
    body = make_request(make_body(2_000_000))
    streaming = asyncio.ensure_future(_counted_streams(subject, make_stream_request(events, 120, 5), 16))
    posted: list[float] = []
    # Posts at a fixed pace: a fast proxy must not be given more of them than a slow one.
    while not streaming.done():
        load = await _counted_load(subject, body, 1, 30.0, 1)
        posted += load.latencies_s
        await asyncio.sleep(max(0.0, 0.05 - load.elapsed_s))
    streams = await streaming
    await subject.settle()
    delays = [delay for stream in streams for delay in stream.delays_s]
    return {
        "mixed.p99_delay_ms": _percentile(delays, 99) * 1e3,
        "mixed.worst_delay_ms": max(delays) * 1e3,
        "mixed.post_p50_ms": statistics.median(posted) * 1e3,
    }


async def _memory(subject: Subject) -> dict[str, float]:
    """Read 64 streams of 2 MB at once, each over more than two seconds."""
    if subject.server is None:
        return {}
    before = peak = subject.server.resident_bytes()
    request = make_stream_request(128, 16_384, 20)
    streaming = asyncio.ensure_future(_counted_streams(subject, request, 64))
    while not streaming.done():
        await asyncio.sleep(0.02)
        peak = max(peak, subject.server.resident_bytes())
    await streaming
    await subject.settle()
    peak = max(peak, subject.server.resident_bytes())
    return {"memory.before_mb": before / _MEGABYTE, "memory.growth_mb": (peak - before) / _MEGABYTE}


async def _counted_streams(subject: Subject, request: bytes, connections: int, calls: int = 1) -> list[Stream]:
    streams = await run_streams(subject.target, request, connections, calls)
    subject.calls += len(streams)
    return streams


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
