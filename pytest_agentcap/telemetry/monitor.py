"""Measure one session from outside of its sandbox, by the best source that this machine allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.telemetry.attribution import Started, attribute, started_by, started_since, total
from pytest_agentcap.telemetry.counters import Counters
from pytest_agentcap.telemetry.exits import ExitRecords
from pytest_agentcap.telemetry.model import UNMEASURED, Quality, Resources, SessionTelemetry, Source, ToolSpan
from pytest_agentcap.telemetry.processes import Seen
from pytest_agentcap.telemetry.sampling import Sampler

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call, Lease


@dataclass(slots=True)
class _Turn:
    """Both ends of a turn: monotonic seconds, epoch nanoseconds, counters."""

    began: float
    began_ns: int
    before: Counters
    ended: float | None = None
    ended_ns: int | None = None
    after: Counters = field(default_factory=Counters)


@dataclass(slots=True)
class Monitor:
    """Watch the processes of one sandbox by `name`, see `sandbox_of`, and its counters at the ends of calls and turns.

    `records` come from the daemon; without it there is a `sampler`. With neither, and without a control group, nothing
    is measured. `programs` are known once it is finished.
    """

    name: str
    records: ExitRecords | None = None
    sampler: Sampler | None = None
    programs: tuple[Started, ...] = ()
    _started: dict[str, Counters] = field(default_factory=dict)
    _ended: dict[str, Counters] = field(default_factory=dict)
    _turns: dict[int, _Turn] = field(default_factory=dict)
    _first: Counters = field(default_factory=Counters)
    _last: Counters = field(default_factory=Counters)
    _began_ns: int = field(default_factory=time.time_ns)
    _epoch_ns: int = 0

    @classmethod
    def start(cls, name: str, folder: Path, lease: Lease) -> Monitor:
        """Begin to watch; `folder` is where the controller's daemon has its socket."""
        records = ExitRecords.follow(folder, name) if name else None
        monitor = cls(name, records, Sampler(name) if name and records is None else None)
        monitor._first = Counters.read(name)
        if name.startswith("/"):
            lease.on_start = monitor.call_started
            lease.on_end = _both(lease.on_end, monitor.call_ended)
        return monitor

    def call_started(self, call: Call) -> None:
        """Read the counters where a tool's window ends; runs in the proxy's thread."""
        self._started[call.rid] = Counters.read(self.name)

    def call_ended(self, call: Call) -> None:
        """Read the counters where a tool's window begins; runs in the proxy's thread."""
        self._ended[call.rid] = Counters.read(self.name)

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Watch a turn from its beginning to its end, whatever ends it."""
        turn = self._turns[number] = _Turn(time.monotonic(), time.time_ns(), Counters.read(self.name))
        try:
            yield
        finally:
            turn.ended, turn.ended_ns, turn.after = time.monotonic(), time.time_ns(), Counters.read(self.name)

    def closing(self) -> None:
        """Read the counters of the whole session; once its sandbox is stopped they are gone."""
        self._last = Counters.read(self.name)

    def finish(self, derived: SessionTelemetry, wall_s: float) -> SessionTelemetry:
        """Put what was measured to steps and spans; the sandbox's processes must have ended."""
        source, quality, seen = self._seen()
        if seen is None:
            tools = tuple(self._of_window(span) for span in derived.tools)
            turns = {number: self._of_turn(turn) for number, turn in self._turns.items()}
            return replace(derived, tools=tools, turns=turns, session=self._of_session(None, wall_s))
        agents = Seen(started_since(seen.processes, self._began_ns - self._epoch_ns), seen.lost)
        self.programs = tuple(started_by(derived.tools, agents.processes, self._epoch_ns))
        spans = attribute(derived.tools, agents.processes, source, self._epoch_ns, quality)
        turns = {
            n: self._with_processes(self._of_turn(turn), turn, agents, source, quality)
            for n, turn in self._turns.items()
        }
        used = total(seen.processes, source, quality)
        return replace(
            derived,
            tools=tuple(self._best(span) for span in spans),
            turns=turns,
            session=self._of_session(used, wall_s),
            coverage=self._coverage(used) if source == "taskstats" else None,
        )

    def _seen(self) -> tuple[Source, Quality, Seen | None]:
        if self.records is not None:
            self._epoch_ns = time.time_ns() - time.monotonic_ns()
            seen = self.records.finish()
            return "taskstats", "sampled" if seen and seen.lost else "exact", seen
        if self.sampler is not None:
            self._epoch_ns = self.sampler.epoch_ns
            return "proc", "sampled", self.sampler.finish()
        return "none", "none", None

    def _best(self, span: ToolSpan) -> ToolSpan:
        """Prefer the counters' CPU to sampled CPU, and to nothing when the tool had no process of its own."""
        used = span.resources
        if used.source == "taskstats" and used.processes:
            return span
        window = self._window(span)
        if window.cpu_s is None:
            return span
        if not used.processes:
            return replace(span, resources=replace(window, processes=used.processes))
        return replace(span, resources=_counted(used, window))

    def _window(self, span: ToolSpan) -> Resources:
        before, after = self._ended.get(span.request_id), self._started.get(span.result_id or "")
        # What several tool calls used at once is not one's own.
        return after.since(before) if before and after and span.timing != "shared" else UNMEASURED

    def _of_window(self, span: ToolSpan) -> ToolSpan:
        return replace(span, resources=self._window(span))

    def _of_turn(self, turn: _Turn) -> Resources:
        wall = None if turn.ended is None else round(turn.ended - turn.began, 6)
        return replace(turn.after.since(turn.before), wall_s=wall)

    def _with_processes(
        self, window: Resources, turn: _Turn, seen: Seen, source: Source, quality: Quality
    ) -> Resources:
        start, end = turn.began_ns - self._epoch_ns, (turn.ended_ns or time.time_ns()) - self._epoch_ns
        within = [process for process in seen.processes if start <= process.started_ns <= end]
        outliving = sum(process.ended_ns is None or process.ended_ns > end for process in within)
        used = replace(total(within, source, quality), survivors=outliving, wall_s=window.wall_s)
        return used if source == "taskstats" or window.cpu_s is None else _counted(used, window)

    def _of_session(self, used: Resources | None, wall_s: float) -> Resources:
        counted = replace(self._last.since(self._first), wall_s=round(wall_s, 3))
        if used is None:
            return counted
        used = replace(used, wall_s=round(wall_s, 3), peak_memory_bytes=counted.peak_memory_bytes)
        return used if used.source == "taskstats" or counted.cpu_s is None else _counted(used, counted)

    def _coverage(self, used: Resources) -> float | None:
        counted = self._last.since(self._first).cpu_s
        return None if not counted or used.cpu_s is None else round(used.cpu_s / counted, 4)


def _counted(used: Resources, window: Resources) -> Resources:
    """Take from counters what they know, from samples the rest."""
    names = (
        "source",
        "quality",
        "user_s",
        "system_s",
        "peak_memory_bytes",
        "storage_read_bytes",
        "storage_write_bytes",
    )
    return replace(used, **{name: value for name in names if (value := getattr(window, name)) is not None})


def _both(first: Callable[[Call], None] | None, second: Callable[[Call], None]) -> Callable[[Call], None]:
    def run(call: Call) -> None:
        if first is not None:
            first(call)
        second(call)

    return run
