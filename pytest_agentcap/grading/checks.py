"""The checks of built-in graders, called by the runner in a process of their own.

Texts and files come from the agent: a pattern may take for ever over them, and a process can be ended.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 16 << 20
_SHOWN = 5
_EXCERPT_CHARS = 200
_FENCED = re.compile(r"^```[\w-]*[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


class Fault(Exception):
    """Say what is wrong with what the agent left."""


def grade(*, check: str, argument: Mapping[str, Any], output: str, cwd: str, changed: Sequence[str]) -> dict[str, Any]:
    """Return pass, score (the share of what was asked for that is there) and reasoning (each fault)."""
    try:
        faults, asked = _CHECKS[check](argument, output, Path(cwd), changed)
    except Fault as fault:
        faults, asked = [str(fault)], 1
    shown = "; ".join(faults[:_SHOWN]) + (f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else "")
    return {"pass": not faults, "score": 1 - len(faults) / asked, "reasoning": shown or "all that was asked for holds"}


def _contains(argument: Mapping[str, Any], output: str, cwd: Path, _: Sequence[str]) -> tuple[list[str], int]:
    def fold(text: str) -> str:
        return text.casefold() if argument["ignore_case"] else text

    where, text = _subject(argument, output, cwd)
    folded = fold(text)
    return _look(argument, where, lambda wanted: fold(wanted) in folded)


def _regex(argument: Mapping[str, Any], output: str, cwd: Path, _: Sequence[str]) -> tuple[list[str], int]:
    where, text = _subject(argument, output, cwd)
    flags = re.IGNORECASE if argument["ignore_case"] else 0
    return _look(argument, where, lambda pattern: re.search(pattern, text, flags) is not None)


def _look(argument: Mapping[str, Any], where: str, found: Callable[[str], bool]) -> tuple[list[str], int]:
    faults = [f"{where} lacks {wanted!r}" for wanted in argument["all"] if not found(wanted)]
    faults += [f"{where} has {unwanted!r}" for unwanted in argument["none"] if found(unwanted)]
    if argument["any"] and not any(map(found, argument["any"])):
        faults.append(f"{where} has none of {', '.join(map(repr, argument['any']))}")
    return faults, len(argument["all"]) + len(argument["none"]) + bool(argument["any"])


def _json_schema(argument: Mapping[str, Any], output: str, cwd: Path, _: Sequence[str]) -> tuple[list[str], int]:
    from jsonschema.validators import validator_for
    from referencing import Registry

    where, text = _subject(argument, output, cwd)
    schema = argument["schema"]
    # A registry of its own: the default one fetches what a schema refers to.
    validator = validator_for(schema)(schema, registry=Registry())
    value = _json(where, text, fenced=argument["file"] is None)
    faults = [_excerpt(f"{where}{error.json_path[1:]}: {error.message}") for error in validator.iter_errors(value)]
    return faults, max(len(faults), 1)


def _json(where: str, text: str, fenced: bool) -> Any:
    """Read a text as JSON, or what stands in the only fenced block of a reply."""
    candidates = [text, *(_FENCED.findall(text) if fenced else ())]
    for candidate in candidates if len(candidates) <= 2 else candidates[:1]:
        try:
            return json.loads(candidate, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
    raise Fault(f"{where} is not JSON: {_excerpt(text)}")


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _git_diff(argument: Mapping[str, Any], output: str, cwd: Path, changed: Sequence[str]) -> tuple[list[str], int]:
    faults = [f"nothing that matches {glob!r} was changed" for glob in argument["changed"] if not _any(changed, [glob])]
    if argument["only"]:
        others = [name for name in changed if not _any([name], argument["only"])]
        faults += [f"{_names(others)} must not have changed"] if others else []
    touched = [name for name in changed if _any([name], argument["untouched"])]
    faults += [f"{_names(touched)} must not have changed"] if touched else []
    most = argument["max_files"]
    faults += [f"{len(changed)} files were changed, {most} may be"] if most is not None and len(changed) > most else []
    asked = len(argument["changed"]) + bool(argument["only"]) + bool(argument["untouched"]) + (most is not None)
    if not asked:
        return [] if changed else ["nothing was changed"], 1
    return faults, asked


def _any(names: Sequence[str], globs: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for name in names for glob in globs)


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _subject(argument: Mapping[str, Any], output: str, cwd: Path) -> tuple[str, str]:
    """Return what is looked at, and its text: the reply, or a file."""
    name = argument["file"]
    if name is None:
        return "the reply", output
    path = cwd / name
    # The copy holds regular files and folders alone; links in it are texts.
    if not path.is_file():
        raise Fault(f"{name} is missing")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Fault(f"{name} has more than {MAX_FILE_BYTES} bytes")
    return name, path.read_bytes().decode("utf-8", "replace")


def _excerpt(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _EXCERPT_CHARS else f"{one_line[:_EXCERPT_CHARS]}…"


_Check = Callable[[Mapping[str, Any], str, Path, Sequence[str]], tuple[list[str], int]]
_CHECKS: Mapping[str, _Check] = {
    "contains": _contains,
    "regex": _regex,
    "json-schema": _json_schema,
    "git-diff": _git_diff,
}
