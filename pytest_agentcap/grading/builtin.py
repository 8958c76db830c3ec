"""Graders by name: `contains`, `regex`, `json-schema`, `git-diff`, `command` and `llm-judge`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pytest_agentcap.grading.arguments import (
    Argument,
    read_changes,
    read_command,
    read_patterns,
    read_rubric,
    read_schema,
    read_texts,
)
from pytest_agentcap.grading.base import Grader, GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.command import CommandGrader
from pytest_agentcap.grading.judge import JudgeGrader, JudgeServer
from pytest_agentcap.grading.program import DEFAULT_TIMEOUT_S, python_grader

_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "contains": read_texts,
    "regex": read_patterns,
    "json-schema": read_schema,
    "git-diff": read_changes,
}
_READERS: Mapping[str, Callable[[Any], Any]] = {**_CHECKS, "command": read_command, "llm-judge": read_rubric}
_FROM_HINT = frozenset({"contains", "regex", "llm-judge"})
NAMES = tuple(_READERS)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Hold what graders are made with: the seconds that each may take, and the model that judges."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    judge: JudgeServer | None = None


def is_builtin(text: str) -> bool:
    """Tell whether a text names a built-in grader, with or without an argument."""
    return text.partition(":")[0] in _READERS


def builtin_grader(text: str, base: Path, tools: Toolbox) -> Grader | None:
    """Return the grader of `NAME`, `NAME:ARGUMENT` or `NAME:@FILE`, None for a text that begins with no such name.

    A relative FILE starts at `base`. Raises GraderError for an argument that makes no sense.
    """
    name, colon, argument = text.partition(":")
    if name not in _READERS:
        return None
    if not colon:
        return named_grader(name, None, tools)
    if argument.startswith("@"):
        path = base / argument[1:]
        try:
            argument = path.read_text("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise GraderError(f"grader {name}: {path} cannot be read ({error}); name a text file") from error
    return named_grader(name, argument, tools)


def named_grader(name: str, argument: Any, tools: Toolbox) -> Grader:
    """Return a built-in grader; without an argument (None) it takes each task's own. Raises GraderError."""
    if name not in _READERS:
        raise GraderError(f"grader {name}: not known; there are {', '.join(NAMES)}")
    if name == "llm-judge" and tools.judge is None:
        raise GraderError(f"grader {name}: which model judges? pass --judge-model ID and --judge-upstream URL")
    source = Argument(name, argument, name in _FROM_HINT, optional=name == "git-diff")
    if argument is not None:
        source.checked(_READERS[name], argument, f"its argument {argument!r}")
    if name == "command":
        return CommandGrader(source, tools.timeout_s)
    if tools.judge is not None and name == "llm-judge":
        return JudgeGrader(source, tools.judge, tools.timeout_s)
    return CheckGrader(source, tools.timeout_s)


@dataclass(frozen=True, slots=True)
class CheckGrader:
    """Hold a reply or a file against texts, patterns or a schema, or a session's changes against globs."""

    source: Argument
    timeout_s: float

    @property
    def name(self) -> str:
        return self.source.grader

    def grade(self, given: GraderInput) -> GraderResult:
        """Return the verdict; raises GraderError when the task says nothing to check, or nonsense."""
        argument = self.source.read(_CHECKS[self.name], given)
        if self.name == "git-diff" and given.changed is None:
            raise GraderError(f"grader {self.name}: it is not known what the session changed; see its notes")
        if given.cwd is None and getattr(argument, "file", None) is not None:
            raise GraderError(f"grader {self.name}: no workspace with {argument.file}; it needs a session's end")
        document = {
            "check": self.name,
            "argument": msgspec.to_builtins(argument),
            "output": given.output,
            "cwd": str(given.cwd or ""),
            "changed": given.changed or (),
        }
        program = python_grader(self.name, Path(__file__).with_name("checks.py"), timeout_s=self.timeout_s)
        return program.judge(json.dumps(document).encode())
