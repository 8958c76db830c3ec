"""The rows of telemetry: model steps, tool spans, and what processes used.

Everything that is not known is None; a 0 was counted. Points in time are epoch nanoseconds on this machine's clock,
which is the proxy's as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_agentcap.conversation.model import Sampling
from pytest_agentcap.conversation.threads import Kind, Relation

Source: TypeAlias = Literal["taskstats", "cgroup", "proc", "none"]
Quality: TypeAlias = Literal["exact", "window", "sampled", "none"]
Timing: TypeAlias = Literal["process", "window", "shared", "none"]


@dataclass(frozen=True, slots=True)
class Resources:
    """Hold what a tool call, a turn or a session used, where that comes from, and how far it is to be believed.

    `source` is `taskstats` (the kernel's record of each process that ended), `cgroup` (counters of the container at
    both ends of the window), `proc` (samples of the process tree) or `none`. `quality` is `exact` (of the processes of
    this row alone), `window` (of all that ran in the sandbox meanwhile, the agent itself included), `sampled` (what
    began and ended between two samples is missing) or `none`.

    Times are seconds. `peak_rss_bytes` is the largest resident set of one of its processes, `peak_memory_bytes`
    the most that the whole control group had, caches included; `storage_…` are bytes that the storage device read and
    was given to write, `syscall_…` those that passed through read and write calls, caches and pipes
    included. `wall_s` lasts from the start of its first process to the end of its last, at most to the window's end,
    and `idle_s` is what of the window is left. `survivors` are processes that still ran when the window ended.
    """

    source: Source = "none"
    quality: Quality = "none"
    user_s: float | None = None
    system_s: float | None = None
    peak_rss_bytes: int | None = None
    peak_memory_bytes: int | None = None
    storage_read_bytes: int | None = None
    storage_write_bytes: int | None = None
    syscall_read_bytes: int | None = None
    syscall_write_bytes: int | None = None
    processes: int | None = None
    survivors: int | None = None
    wall_s: float | None = None
    idle_s: float | None = None

    @property
    def cpu_s(self) -> float | None:
        return None if self.user_s is None or self.system_s is None else self.user_s + self.system_s


UNMEASURED = Resources()


@dataclass(frozen=True, slots=True)
class ModelStep:
    """Hold one response as a step of the model; `request_id` is the call's rid.

    `first_token_at_ns` is when the first piece of text, reasoning or tool call came in a stream; `first_token_quality`
    says whether that is `exact`, or the end of a `window` because the server sent several events at once. `output` and
    `reasoning` are what was said and thought, without tool calls.
    """

    request_id: str
    thread: int | None
    thread_kind: Kind | None
    relation: Relation | None
    turn: int | None
    model: str | None
    started_at_ns: int | None
    first_byte_at_ns: int | None
    first_token_at_ns: int | None
    first_token_quality: Quality
    ended_at_ns: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    finish_reason: str | None
    tool_calls: int
    failed: bool
    sampling: Sampling
    output: str | None = field(default=None, repr=False)
    reasoning: str | None = field(default=None, repr=False)

    @property
    def duration_s(self) -> float | None:
        return _seconds(self.started_at_ns, self.ended_at_ns)

    @property
    def time_to_first_token_s(self) -> float | None:
        return _seconds(self.started_at_ns, self.first_token_at_ns)


@dataclass(frozen=True, slots=True)
class ToolSpan:
    """Hold one tool call from the answer that asked for it, `request_id`, to the request that tells its result.

    `span_id` is `<rid>-<position>`, the position being that of the tool call in the answer, from 0 on; it is the same
    however often it is derived. `call_id` is the model's own id. `result_id` is the rid of the next request, None
    without a result. `timing` says what the two points in time are: the root process's own (`process`), the window
    between answer and next request, which holds the agent's own work as well (`window`), the same for several tool
    calls at once (`shared`), or that one of them is not known (`none`). `exit_code_source` is `process`, or `text` when
    it was read from the result. `background` says that processes of it outlived the window; None where nobody looked.
    `answered_ns` is when the first byte of the answer came: nothing that ran before was asked for by it.
    """

    span_id: str
    request_id: str
    result_id: str | None
    call_id: str | None
    position: int
    thread: int
    thread_kind: Kind
    turn: int | None
    name: str
    arguments: str = field(repr=False)
    output: str | None = field(repr=False)
    is_error: bool | None
    window_start_ns: int | None
    window_end_ns: int | None
    started_at_ns: int | None
    ended_at_ns: int | None
    timing: Timing
    exit_code: int | None
    exit_code_source: Literal["process", "text"] | None
    background: bool | None = None
    resources: Resources = UNMEASURED
    answered_ns: int | None = None

    @property
    def duration_s(self) -> float | None:
        return _seconds(self.started_at_ns, self.ended_at_ns)


@dataclass(frozen=True, slots=True)
class SessionTelemetry:
    """Hold all of one session; `turns` has what each turn used, by its number.

    `coverage` is the CPU time of all processes that were seen, over that of the sandbox's cgroup: 1 when nothing was
    missed, None where only one of the two was counted. Calls that are no conversation (embeddings) are no steps.
    """

    steps: tuple[ModelStep, ...] = ()
    tools: tuple[ToolSpan, ...] = ()
    turns: dict[int, Resources] = field(default_factory=dict)
    session: Resources = UNMEASURED
    coverage: float | None = None


def _seconds(start: int | None, end: int | None) -> float | None:
    return None if start is None or end is None else (end - start) / 1e9
