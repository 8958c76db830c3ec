"""Documents of users, such as an agent.toml, made into their types; what is wrong with one is named by its key."""

from __future__ import annotations

import copy
import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

# msgspec tells the way to a value as `$.tools[2].name`, with `[...]` for each key that a type leaves open.
_WAY = re.compile(r"`\$([^`]+)`$")
_PART = re.compile(r"\.\w+|\[\d+\]|\[\.\.\.\]")


def convert(document: Any, kind: type[T]) -> T:
    """Make a value of a type from tables, lists and plain values.

    Raises msgspec.ValidationError that names every key on the way to what is wrong.
    """
    try:
        return msgspec.convert(document, kind, strict=True)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(_named(document, kind, str(error))) from error


def _named(document: Any, kind: type[T], told: str) -> str:
    found = _WAY.search(told)
    if found is None:
        return told
    narrowed = copy.deepcopy(document)
    place: Any = narrowed
    way = "$"
    for part in _PART.findall(found[1]):
        if part == "[...]":
            key = _guilty(narrowed, place, kind, told)
            way, place = f"{way}.{key}", place[key]
        elif part.startswith("["):
            way, place = way + part, place[int(part[1:-1])]
        else:
            # A field that is missing is no place; then the way has no more parts.
            way, place = way + part, place.get(part[1:])
    return f"{told[: found.start()]}`{way}`"


def _guilty(document: Any, table: dict[str, Any], kind: type[T], told: str) -> str:
    """Find the key of a table in the document with which alone it is refused as before; the others are removed."""
    entries = dict(table)
    for key in entries:
        table.clear()
        table[key] = entries[key]
        try:
            msgspec.convert(document, kind, strict=True)
        except msgspec.ValidationError as error:
            if str(error) == told:
                return key
    raise AssertionError(f"no key of {sorted(entries)} is refused: {told}")
