"""What built-in graders are asked to check: read from an option, a fixture, or the task that is graded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec

from pytest_agentcap.grading.base import GraderError, GraderInput

Struct = TypeVar("Struct", bound=msgspec.Struct)
Read = TypeVar("Read")


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name the texts or patterns to look for in the reply, or in a `file` of the workspace."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    file: str | None = None
    ignore_case: bool = False


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name a JSON Schema, and the `file` of the workspace that is held against it instead of the reply."""

    schema: dict[str, Any] | bool
    file: str | None = None


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name by globs what must, may and must not have changed; `max_files` bounds how many files."""

    changed: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    max_files: int | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """Say where a grader's argument comes from: `value` if there is one, else the task's metadata, else its hint."""

    grader: str
    value: Any = None
    from_hint: bool = False
    optional: bool = False

    def read(self, reader: Callable[[Any], Read], given: GraderInput) -> Read:
        """Return what a reader makes of the argument for a task; raises GraderError for none, and for nonsense."""
        return self.checked(reader, *self._find(given))

    def checked(self, reader: Callable[[Any], Read], value: Any, called: str) -> Read:
        """Return what a reader makes of a value; raises GraderError, which says what it is called."""
        try:
            return reader(value)
        except ValueError as error:
            raise GraderError(f"grader {self.grader}: {called}: {error}") from error

    def _find(self, given: GraderInput) -> tuple[Any, str]:
        if self.value is not None:
            return self.value, f"its argument {self.value!r}"
        if given.metadata.get(self.grader) is not None:
            return given.metadata[self.grader], f"metadata.{self.grader} of {given.task_id}"
        if self.from_hint and given.hint is not None:
            return given.hint, f"the hint of {given.task_id}"
        if self.optional:
            return {}, "its argument"
        places = f"metadata.{self.grader}{' nor a hint' if self.from_hint else ''}"
        raise GraderError(
            f"grader {self.grader}: the task {given.task_id} has no {places}; give it one, or write "
            f"{self.grader}:ARGUMENT"
        )


def read_texts(value: Any) -> Texts:
    """Read a text, a list of texts that must all be there, or an object. Raises ValueError."""
    if isinstance(value, str):
        value = {"all": [value]}
    elif isinstance(value, Sequence):
        value = {"all": value}
    found = _convert(value, Texts)
    if not (found.all or found.any or found.none):
        raise ValueError("nothing to look for: give a text, a list of texts, or an object with all, any or none")
    return found


def read_patterns(value: Any) -> Texts:
    """Read patterns of Python's `re` as `read_texts` does. Raises ValueError for one that is none."""
    found = read_texts(value)
    for pattern in (*found.all, *found.any, *found.none):
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return found


def read_schema(value: Any) -> Schema:
    """Read a JSON Schema: an object, its text, or `{"schema": …, "file": …}`. Raises ValueError."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f"not JSON: {error}") from error
    if isinstance(value, bool) or (isinstance(value, Mapping) and "schema" not in value):
        value = {"schema": value}
    found = _convert(value, Schema)
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        kind: Any = validator_for(found.schema)
        kind.check_schema(found.schema)
    except SchemaError as error:
        raise ValueError(f"no JSON Schema: {error.message}") from error
    return found


def read_changes(value: Any) -> Changes:
    """Read a glob, a list of globs that must each match a changed file, or an object. Raises ValueError."""
    if isinstance(value, str):
        value = {"changed": [value]}
    elif isinstance(value, Sequence):
        value = {"changed": value}
    return _convert(value, Changes)


def read_command(value: Any) -> tuple[str, ...]:
    """Read a line for the shell, or a list of words that are run without one. Raises ValueError."""
    if isinstance(value, str) and value.strip():
        return ("sh", "-c", value)
    if isinstance(value, Sequence) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("no command: give a line for the shell, or a list of words")


def read_rubric(value: Any) -> str:
    """Read what a judge judges by. Raises ValueError."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError("no rubric: give a text")


def _convert(value: Any, kind: type[Struct]) -> Struct:
    try:
        found = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    file = getattr(found, "file", None)
    if file is not None and (not file or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts):
        raise ValueError(f"file {file!r} is not below the workspace")
    return found
