"""What a task on a repository says beside its prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

Comparator: TypeAlias = Literal["equals", "approx", "set", "regex", "json-schema"]
OutputType: TypeAlias = Literal["int", "str", "float", "bool", "json", "oracle_bool"]


@dataclass(frozen=True, slots=True)
class Repository:
    """Name a git repository: `location` is a URL or an absolute path, `folder` where the agent starts in it."""

    id: str
    location: str
    ref: str
    folder: str = "."


@dataclass(frozen=True, slots=True)
class Oracle:
    """Name a function that computes a value from a checkout: one of ours, or `module:function`."""

    fn: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """Hold one value that is asked for: where it comes from, and how an answer is compared with it.

    Its expected value is what `oracle` computes, or `expected` where there is none. Of the type `oracle_bool` the
    oracle looks at what the agent left, and says whether that is right. `rel` and `abs` are tolerances of `approx`.
    """

    key: str
    type: OutputType = "str"
    oracle: Oracle | None = None
    expected: Any = None
    comparator: Comparator = "equals"
    weight: float = 1.0
    rel: float = 1e-6
    abs: float = 0.0


def unfit(comparator: Comparator, expected: Any) -> str | None:
    """Say why no answer could ever be compared with an expected value; None when one can."""
    match comparator:
        case "approx" if isinstance(expected, bool) or not isinstance(expected, int | float):
            return "is no number, which `approx` compares with"
        case "set" if not isinstance(expected, list):
            return "is no list, which `set` compares with"
        case "regex":
            try:
                re.compile(expected)
            except (re.error, TypeError, RecursionError, OverflowError) as error:
                return f"is no regular expression: {error}"
        case "json-schema":
            return _no_schema(expected)
    return None


def _no_schema(expected: Any) -> str | None:
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    if isinstance(expected, bool):
        return None
    if not isinstance(expected, dict):
        return "is no JSON schema"
    try:
        validator_for(expected).check_schema(expected)
    except SchemaError as error:
        return f"is no JSON schema: {error.message}"
    return None


@dataclass(frozen=True, slots=True)
class CommandPolicy:
    """Say which programs may be run and where may be written; without `allowed` all that are not `prohibited` may."""

    allowed: tuple[str, ...] = ()
    prohibited: tuple[str, ...] = ()
    write_paths: tuple[str, ...] = ("eval_artifacts/", "/tmp/")


@dataclass(frozen=True, slots=True)
class Scoring:
    """Name a scoring profile, and the weights that differ from its own."""

    profile: str = "agentgym"
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RepoTask:
    """Hold what a task on a repository says; `root` is the folder of its corpus, where its own oracles are found.

    `answer` is the JSON file, from the repository's top on, in which the agent gives its values.
    """

    repository: Repository
    root: Path
    outputs: tuple[Output, ...]
    difficulty: str = "easy"
    folder: str = "."
    policy: CommandPolicy = CommandPolicy()
    max_commands: int | None = None
    answer: str = "eval_artifacts/answer.json"
    scoring: Scoring = Scoring()
