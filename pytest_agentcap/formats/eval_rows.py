"""The rows of agent-eval-harness's files: what it writes, and what this project adds beside it.

Keys, types and which of them may be absent are those of its version 0.12.2. Figures that it always has and that a
capture may not tell (times and durations) may be null here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

Number: TypeAlias = int | float
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Input: TypeAlias = str | list[str]
Richness: TypeAlias = Literal["full", "messages-only", "minimal"]
OptionalText: TypeAlias = str | UnsetType
OptionalObject: TypeAlias = dict[str, Any] | UnsetType


class PromptCase(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold one task of a corpus; `timeout` is in milliseconds, `images` are paths, `expected` is a `hint` of old."""

    id: str
    input: Input
    hint: OptionalText = UNSET
    reference: str | list[str] | UnsetType = UNSET
    metadata: OptionalObject = UNSET
    timeout: Number | UnsetType = UNSET
    images: str | list[str] | UnsetType = UNSET
    expected: OptionalText = UNSET


class GraderResult(Struct, frozen=True, rename="camel"):
    """Hold a grader's verdict. A grader may have added keys of its own, which are let be."""

    passed: bool = field(name="pass")
    score: Fraction
    reasoning: OptionalText = UNSET
    outcome: OptionalObject = UNSET


class NamedResult(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold the verdict of one of several graders; `duration_s` is the grader's wall time."""

    name: str
    passed: bool = field(name="pass")
    score: Fraction
    reasoning: str | None = None
    outcome: dict[str, Any] | None = None
    duration_s: Number | None = None


class Thought(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, tag_field="type", tag="thought"):
    """Hold what a model thought; `timestamp` is in ms since the session began."""

    content: str
    timestamp: Number | None
    step_id: OptionalText = UNSET


class Message(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, tag_field="type", tag="message"):
    """Hold what a model said."""

    content: str
    timestamp: Number | None
    step_id: OptionalText = UNSET


class ToolCall(
    Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="tool_call"
):
    """Hold a tool call; `duration` in ms is from the answer that asked for it to the request that told its result."""

    name: str
    status: str
    timestamp: Number | None
    duration: Number | UnsetType = UNSET
    input: Any = UNSET
    output: Any = UNSET
    step_id: OptionalText = UNSET


class Plan(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, tag_field="type", tag="plan"):
    """Hold a plan."""

    entries: list[Any]
    timestamp: Number | None
    step_id: OptionalText = UNSET


Step: TypeAlias = Thought | Message | ToolCall | Plan


class Timing(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold when a session was: epoch milliseconds, and durations in ms."""

    start: Number | None
    end: Number | None
    first_response: Number | UnsetType = UNSET
    session_creation: Number | None
    total: Number | None
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET


class Origin(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Name the captures that a row was made from."""

    run: str | None
    session: str
    corpus: str | None
    trial: int
    attempt: int
    agent_version: str | None
    model: str | None
    request_ids: list[str]


class CaptureResult(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold one session. `verdict`, `reason`, `graders` and `origin` are this project's."""

    id: str
    input: Input
    output: str
    hint: OptionalText = UNSET
    trajectory: list[Step]
    metadata: dict[str, Any]
    timing: Timing
    tool_errors: bool
    errors: list[str] | UnsetType = UNSET
    score: GraderResult | UnsetType = UNSET
    outcome: OptionalObject = UNSET
    verdict: OptionalText = UNSET
    reason: OptionalText = UNSET
    graders: list[NamedResult] | UnsetType = UNSET
    origin: Origin | UnsetType = UNSET


class TrialEntry(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold one trial of a task; `duration` in ms. What follows `outcome` is this project's."""

    trial_num: int
    output: str
    trajectory: list[Step]
    duration: Number | None
    passed: bool | UnsetType = field(name="pass", default=UNSET)
    score: Fraction | UnsetType = UNSET
    reasoning: OptionalText = UNSET
    outcome: OptionalObject = UNSET
    verdict: OptionalText = UNSET
    reason: OptionalText = UNSET
    tool_errors: bool | UnsetType = UNSET
    errors: list[str] | UnsetType = UNSET
    graders: list[NamedResult] | UnsetType = UNSET
    origin: Origin | UnsetType = UNSET


class Estimates(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold what a task's trials tell: `passed` of `judged`, others by verdict; curves by k as text.

    Figures are null where there are too few trials for them.
    """

    judged: int
    passed: int
    excluded: dict[str, int]
    pass_rate: Fraction | None
    pass_rate_interval: tuple[Fraction, Fraction] | None
    pass_at: dict[str, Fraction | None]
    pass_pow: dict[str, Fraction | None]
    flakiness: Fraction | None


class TrialResult(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold all trials of a task; `passAtK` and `passExpK` are the plug-in estimates, `estimates` the unbiased ones."""

    id: str
    input: Input
    hint: OptionalText = UNSET
    k: int
    trials: list[TrialEntry]
    metadata: OptionalObject = UNSET
    pass_rate: Fraction | UnsetType = UNSET
    pass_at_k: Fraction | UnsetType = UNSET
    pass_exp_k: Fraction | UnsetType = UNSET
    estimates: Estimates | UnsetType = UNSET


class RawTiming(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold when a program ran: epoch milliseconds, and ms."""

    start: Number
    end: Number
    total: Number


class RawOutput(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold what a program printed, line by line.

    What follows `error` is this project's: when each line came, in ms, and the grade of a session that was graded.
    """

    id: str
    input: Input
    hint: OptionalText = UNSET
    metadata: OptionalObject = UNSET
    raw_lines: list[str]
    timing: RawTiming
    error: OptionalText = UNSET
    arrivals: list[Number | None] | UnsetType = UNSET
    score: GraderResult | UnsetType = UNSET
    outcome: OptionalObject = UNSET
    graders: list[NamedResult] | UnsetType = UNSET
    verdict: OptionalText = UNSET
    reason: OptionalText = UNSET


class ExtractedResult(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold what a program's output means, and the grade that the raw row had."""

    id: str
    input: Input
    hint: OptionalText = UNSET
    output: str
    trajectory: list[Step]
    tool_errors: bool
    metadata: OptionalObject = UNSET
    timing: RawTiming
    error: OptionalText = UNSET
    score: GraderResult | UnsetType = UNSET
    outcome: OptionalObject = UNSET
    graders: list[NamedResult] | UnsetType = UNSET
    verdict: OptionalText = UNSET
    reason: OptionalText = UNSET


class SummaryResult(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold a session at a glance; `duration` in ms."""

    id: str
    input: str
    output: str
    tool_calls: list[str]
    duration: Number | None
