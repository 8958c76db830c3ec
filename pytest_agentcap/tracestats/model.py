"""Sessions as figures: what is left of a trace when its texts are put aside. What is not known is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TracedStep:
    """Hold one answer of a model. Times are seconds, points in time ns of the trace's clock."""

    step_id: str
    start_ns: int | None
    end_ns: int | None
    duration_s: float | None
    first_token_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    failed: bool | None
    relation: str | None


@dataclass(frozen=True, slots=True)
class TracedCall:
    """Hold one tool call and what it used; `command` is the beginning of what it was given, for people.

    `source`, `quality` and `timing` are those of the telemetry; None in files that do not say. `thread` tells the
    conversations of a session apart.
    """

    span_id: str
    tool: str
    command: str
    thread: int
    start_ns: int | None
    end_ns: int | None
    duration_s: float | None
    cpu_s: float | None
    peak_rss_bytes: int | None
    storage_read_bytes: int | None
    storage_write_bytes: int | None
    syscall_read_bytes: int | None
    syscall_write_bytes: int | None
    exit_code: int | None
    is_error: bool | None
    source: str | None
    quality: str | None
    timing: str | None

    @property
    def failed(self) -> bool | None:
        """Tell whether it failed by its exit code, or by what the result says of itself; None when neither is known."""
        if self.exit_code is not None:
            return self.exit_code != 0
        return self.is_error


@dataclass(frozen=True, slots=True)
class Trace:
    """Hold one session.

    `one_clock` says that steps and tool calls have points in time which can be compared. `high_water` says that peak
    memory is the highest value of all processes so far, and not that of a tool call: AgentTrace's own files.
    """

    trace_id: str
    place: str
    dataset: str | None
    agent: str | None
    model: str | None
    task: str | None
    verdict: str | None
    total_s: float | None
    steps: tuple[TracedStep, ...]
    calls: tuple[TracedCall, ...]
    one_clock: bool
    high_water: bool
