"""What the commands on finished results write: their rows and reports, and the labels that calibration takes back."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from pytest_agentcap.formats.eval_rows import (
    Fraction,
    GraderResult,
    Input,
    NamedResult,
    Number,
    OptionalObject,
    OptionalText,
    Step,
)


class GradedResult(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold an extracted row with its grade; other keys of the row are kept.

    Without a score, `verdict` is grader_error and `reason` says what happened.
    """

    id: str
    input: Input
    hint: OptionalText = UNSET
    output: str
    trajectory: list[Step] | UnsetType = UNSET
    tool_errors: bool | UnsetType = UNSET
    metadata: OptionalObject = UNSET
    timing: OptionalObject = UNSET
    error: OptionalText = UNSET
    score: GraderResult | UnsetType = UNSET
    outcome: OptionalObject = UNSET
    graders: list[NamedResult] | UnsetType = UNSET
    verdict: OptionalText = UNSET
    reason: OptionalText = UNSET


class ValidationResult(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold what the graders say of a reference.

    `pass`, `score` and `reasoning` are those of `graderResult`; all of them are absent when a grader gave no verdict,
    and `reason` says why. `run` is there when the reference was run: what its session came to.
    """

    id: str
    input: Input
    reference: str
    passed: bool | UnsetType = field(name="pass", default=UNSET)
    score: Fraction | UnsetType = UNSET
    reasoning: OptionalText = UNSET
    passes: bool
    grader_result: GraderResult | UnsetType = UNSET
    reason: OptionalText = UNSET
    run: ReferenceRun | UnsetType = UNSET


class ReferenceRun(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold what came of acting out a reference by the scripted model."""

    verdict: str
    reason: str | None = None


class CategoryCount(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold a category's share, in whole per cent."""

    name: str
    count: int
    percentage: int


class PolarityGap(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Name the polarities of which a category has no case."""

    category: str
    missing: list[str]


class Polarity(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold how cases are spread over what should pass, what should be refused, and what lies at the edge."""

    counts: dict[str, int]
    unlabelled: int
    gaps: list[PolarityGap]


class BalanceAnalysis(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold how a corpus is spread over its categories; `polarity` is there when a case tells its own."""

    total_cases: int
    categories: list[CategoryCount]
    underrepresented: list[str]
    suggestions: list[str]
    polarity: Polarity | UnsetType = UNSET


class CalibrationSample(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Hold a graded session that somebody is to judge."""

    id: str
    input: Input
    output: str
    hint: OptionalText = UNSET
    original_score: GraderResult
    rescored_result: GraderResult | UnsetType = UNSET
    trajectory_snippet: list[Step]


class CalibrationLabel(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold somebody's judgement of a sample; null is ambiguous."""

    id: str
    passed: bool | None = field(name="pass")


class Confusion(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Count the samples by what the grader and the reviewer said."""

    both_pass: int
    only_grader: int
    only_reviewer: int
    both_fail: int


class Agreement(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold how far grader and reviewer agree on `labelled` samples; ambiguous ones count for neither.

    `kappa` is Cohen's, and null where it is not defined: when both said the same of everything.
    """

    labelled: int
    ambiguous: int
    agreement: Fraction | None
    agreement_interval: tuple[Fraction, Fraction] | None
    kappa: Number | None
    confusion: Confusion


class Rank(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold a run's place on one task; equal ranks are a tie."""

    run: str
    rank: int
    score: Number


class Ranking(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold what a comparison grader answers."""

    rankings: list[Rank]
    reasoning: str | None = None


class GraderInput(Struct, frozen=True, rename="camel", kw_only=True):
    """Hold what a grader is given; unknown parts are absent."""

    input: Input
    output: str
    hint: OptionalText = UNSET
    trajectory: list[Step] | UnsetType = UNSET
    metadata: OptionalObject = UNSET
    cwd: OptionalText = UNSET


Review = Literal["agrees", "disagrees", "ambiguous"]
