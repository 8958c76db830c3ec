"""The reports of comparisons, of single sessions and of trials; keys as agent-eval-harness has them, and added ones.

Figures that nothing tells are null. What is only sometimes there is absent otherwise.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from pytest_agentcap.formats.eval_rows import Number

Interval: TypeAlias = tuple[Number, Number]
Intervals: TypeAlias = dict[str, Interval | None]
Figure: TypeAlias = Number | None


class Meta(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold what was compared; `warnings` says what makes the runs unlike each other."""

    generated_at: str
    runs: list[str]
    prompt_count: int
    prompts_with_all_runs: int | UnsetType = UNSET
    trials_per_prompt: int | UnsetType = UNSET
    input_format: Literal["trials"] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


class Quality(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold grades; sessions without one are counted in `ungraded` and nowhere else."""

    type: Literal["run"] = "run"
    avg_score: Figure
    pass_rate: Figure
    pass_count: int
    fail_count: int
    score_distribution: dict[str, int]
    ungraded: int | UnsetType = UNSET
    confidence_intervals: Intervals | UnsetType = UNSET


class Spread(Struct, frozen=True, rename="camel"):
    """Hold durations in ms."""

    p50: Figure
    p90: Figure
    p99: Figure
    mean: Figure
    min: Figure
    max: Figure


class Performance(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold how long sessions took, in ms."""

    latency: Spread
    first_response: Spread | UnsetType = UNSET
    total_duration: Figure
    confidence_intervals: Intervals | UnsetType = UNSET


class Reliability(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold what went wrong; sessions that the infrastructure broke are counted in `infra` and nowhere else."""

    type: Literal["run"] = "run"
    tool_errors: int
    tool_error_rate: Figure
    timeouts: int
    timeout_rate: Figure
    completion_rate: Figure
    infra: int | UnsetType = UNSET


class TrajectoryInfo(Struct, frozen=True, rename="camel"):
    """Hold how much the trajectories tell."""

    richness: str
    avg_step_count: Figure


class Pair(Struct, frozen=True, rename="camel"):
    """Count the tasks that both runs have by who was better."""

    run_a: str
    run_b: str
    a_wins: int
    b_wins: int
    ties: int


class PromptOutcome(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold one task: `winner` is null for a tie, and where fewer than two runs can be compared."""

    id: str
    winner: str | None
    scores: dict[str, Number]
    latencies: dict[str, Figure]
    had_errors: dict[str, bool]
    reasoning: str | UnsetType = UNSET


class HeadToHead(Struct, frozen=True, rename="camel"):
    """Hold each task, and each pair of runs."""

    prompts: list[PromptOutcome]
    pairwise: list[Pair]


class PairedTest(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold the difference A - B of a figure over the tasks of both runs, each task counting once.

    `interval` is a bootstrap over tasks; `p_value` that of a paired permutation test, `p_adjusted` after Holm over all
    pairs of this metric; `effect_size` is Cohen's d of the paired differences, null when they are all alike.
    """

    run_a: str
    run_b: str
    metric: str
    tasks: int
    mean_a: Figure
    mean_b: Figure
    difference: Figure
    interval: Interval | None
    p_value: Figure
    p_adjusted: Figure
    effect_size: Figure


class CaptureComparison(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold a comparison of runs of single sessions."""

    meta: Meta
    quality: dict[str, Quality]
    performance: dict[str, Performance]
    reliability: dict[str, Reliability]
    trajectory_info: dict[str, TrajectoryInfo]
    head_to_head: HeadToHead
    paired: list[PairedTest] | UnsetType = UNSET


class Capability(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold the plug-in estimates of pass@k over tasks."""

    avg_pass_at_k: Figure
    median_pass_at_k: Figure
    p25_pass_at_k: Figure
    p75_pass_at_k: Figure
    confidence_intervals: Intervals | UnsetType = UNSET


class TrialReliability(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold the plug-in estimates of pass^k over tasks."""

    type: Literal["trial"] = "trial"
    avg_pass_exp_k: Figure
    median_pass_exp_k: Figure
    p25_pass_exp_k: Figure
    p75_pass_exp_k: Figure
    confidence_intervals: Intervals | UnsetType = UNSET


class FlakyPrompt(Struct, frozen=True):
    """Hold a task whose trials ended differently."""

    id: str
    flakiness: Number


class Flakiness(Struct, frozen=True, rename="camel"):
    """Hold pass@k - pass^k, plug-in, over tasks."""

    avg_flakiness: Figure
    median_flakiness: Figure
    flaky_prompt_count: int
    top_flaky_prompts: list[FlakyPrompt]


class TrialQuality(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold scores over trials."""

    type: Literal["trial"] = "trial"
    avg_score: Figure
    median_score: Figure
    p25_score: Figure
    p75_score: Figure
    confidence_intervals: Intervals | UnsetType = UNSET


class RunEstimates(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold unbiased estimates, the mean over tasks that have enough judged trials; curves by k as text."""

    tasks: int
    judged: int
    passed: int
    excluded: dict[str, int]
    pass_rate: Figure
    pass_at: dict[str, Figure]
    pass_pow: dict[str, Figure]
    flakiness: Figure
    confidence_intervals: Intervals | UnsetType = UNSET


class TrialHeadToHead(Struct, frozen=True, rename="camel"):
    """Hold each pair of runs: by pass@k, by pass^k, and by the strategy."""

    capability: list[Pair]
    reliability: list[Pair]
    overall: list[Pair]


class TrialPrompt(Struct, frozen=True, rename="camel"):
    """Hold one task."""

    id: str
    capability_winner: str | None
    reliability_winner: str | None
    pass_at_k: dict[str, Figure]
    pass_exp_k: dict[str, Figure]
    flakiness: dict[str, Figure]
    reasoning: str | UnsetType = UNSET


class TrialsComparison(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold a comparison of runs of several trials of each task."""

    meta: Meta
    capability: dict[str, Capability]
    reliability: dict[str, TrialReliability]
    flakiness: dict[str, Flakiness]
    quality: dict[str, TrialQuality] | UnsetType = UNSET
    performance: dict[str, Performance]
    estimates: dict[str, RunEstimates]
    head_to_head: TrialHeadToHead
    per_prompt: list[TrialPrompt]
    paired: list[PairedTest] | UnsetType = UNSET
