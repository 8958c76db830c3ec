"""Read a corpus of one JSON object a line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_agentcap.corpus.source import CorpusError, Entry, Source
from pytest_agentcap.strict import NotStrictJSON, loads

_KEYS = frozenset({"id", "input", "hint", "reference", "metadata", "timeout", "images"})
_OLD_HINT = "expected"
_MAX_TIMEOUT_MS = 10**10


def read_jsonl(source: Source) -> Iterator[Entry]:
    """Yield an entry for each line that is not blank.

    Keys: `id`, `input` (a string, or a list of strings: the scripted turns), `hint`, `reference` (a string, or a list:
    the n-th for the n-th prompt), `metadata` (an object), `timeout` (milliseconds) and `images` (paths, a string or a
    list). A null counts as absent, except for `input`.

    The old name `expected` is read as `hint` with a DeprecationWarning, and keys that nobody reads are
    listed in a UserWarning, each once per file. Raises CorpusError.
    """
    old_hint_line: int | None = None
    unknown: dict[str, int] = {}
    for number, line in source.lines():
        record = _parse(source, number, line)
        known = _KEYS
        if _OLD_HINT in record and "hint" not in record:
            known = _KEYS | {_OLD_HINT}
            old_hint_line = old_hint_line or number
        for key in record.keys() - known:
            unknown.setdefault(key, number)
        yield _entry(source, number, record)
    if old_hint_line is not None:
        message = f"{source.at(old_hint_line)}: the key `expected` is deprecated; rename it to `hint`"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
    if unknown:
        first = sorted(unknown.items(), key=lambda item: (item[1], item[0]))
        keys = ", ".join(f"{json.dumps(key)} (line {line})" for key, line in first)
        warnings.warn(
            f"{source.at(first[0][1])}: keys that nobody reads: {keys}; `metadata` can hold them", stacklevel=2
        )


def _parse(source: Source, number: int, line: str) -> Mapping[str, Any]:
    try:
        record = loads(line)
    except json.JSONDecodeError as error:
        problem = f"not valid JSON ({error.msg} at column {error.colno})"
        raise source.error(number, problem, "write one JSON object a line") from None
    except NotStrictJSON as error:
        raise source.error(number, str(error), "correct the line") from None
    except (ValueError, RecursionError) as error:
        raise source.error(number, f"not readable JSON ({error})", "write a simpler object") from None
    if not isinstance(record, dict):
        raise source.error(number, f"not a JSON object but {_kind(record)}", 'write {"input": "…"}')
    return record


def _entry(source: Source, line: int, record: Mapping[str, Any]) -> Entry:
    if "input" not in record:
        raise source.error(line, "no `input`", 'write {"input": "the prompt"}')
    prompts = _texts(source, line, record, "input")
    if not prompts:
        raise source.error(line, "`input` is an empty list", "write at least one prompt")
    references = _texts(source, line, record, "reference") if record.get("reference") is not None else ()
    if len(references) > len(prompts):
        problem = f"{len(references)} references for {len(prompts)} prompts"
        raise source.error(line, problem, "write at most one reference for each prompt")
    images = _texts(source, line, record, "images") if record.get("images") is not None else ()
    metadata = record.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise _wrong_type(source, line, "metadata", "an object", metadata)
    explicit_id = _text(source, line, record, "id")
    if explicit_id == "":
        raise source.error(line, "`id` is empty", "name the task, or leave `id` out")
    hint = _text(source, line, record, "hint" if "hint" in record else _OLD_HINT)
    return Entry(
        line=line,
        prompts=prompts,
        id=explicit_id,
        hint=hint,
        references=references,
        metadata=metadata or {},
        timeout_s=_timeout_s(source, line, record.get("timeout")),
        images=images,
    )


def _texts(source: Source, line: int, record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = record[key]
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise _wrong_type(source, line, key, "a string or a list of strings", value)


def _text(source: Source, line: int, record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong_type(source, line, key, "a string", value)
    return value


def _timeout_s(source: Source, line: int, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(source, line, "timeout", "a number of milliseconds", value)
    if not 0 < value <= _MAX_TIMEOUT_MS:
        raise source.error(
            line, "`timeout` is out of range", f"write 1 to {_MAX_TIMEOUT_MS} milliseconds, or leave it out"
        )
    return value / 1000


def _wrong_type(source: Source, line: int, key: str, wanted: str, value: object) -> CorpusError:
    return source.error(line, f"`{key}` is {_kind(value)}", f"write {wanted}")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list" if all(isinstance(item, str) for item in value) else "a list of other things than strings"
        case _:
            return "an object"
