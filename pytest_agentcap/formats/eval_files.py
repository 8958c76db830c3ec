"""Files of one JSON object a line, read strictly: the first line that is wrong is told by its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from pytest_agentcap.strict import NotStrictJSON, loads

T = TypeVar("T")


class ResultsError(ValueError):
    """Say in one line what is wrong with a file of results, and where: `file:line: what is wrong`."""


@dataclass(frozen=True, slots=True)
class Record:
    """Hold one line's object as it was written, and where it stood: `file:line`."""

    place: str
    value: dict[str, Any]

    def to(self, kind: type[T]) -> T:
        """Return the object as a row; raises ResultsError for a missing, unknown or wrong field."""
        try:
            return msgspec.convert(self.value, kind)
        except msgspec.ValidationError as error:
            raise ResultsError(f"{self.place}: not a {kind.__name__}: {error}") from None


def read_records(name: str, data: bytes) -> Iterator[Record]:
    r"""Yield the objects of the lines that are not blank; lines end at \n, and the last one may do without.

    Raises ResultsError.
    """
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            place = f"{name}:{number}"
            yield Record(place, _parse(place, line))


def _parse(place: str, line: bytes) -> dict[str, Any]:
    try:
        value = loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ResultsError(f"{place}: not UTF-8 (byte 0x{line[error.start]:02x})") from None
    except json.JSONDecodeError as error:
        raise ResultsError(f"{place}: not valid JSON ({error.msg} at column {error.colno}), or cut off") from None
    except NotStrictJSON as error:
        raise ResultsError(f"{place}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{place}: not readable JSON ({error})") from None
    if not isinstance(value, dict):
        raise ResultsError(f"{place}: not a JSON object")
    return value


def check_unique(records: list[Record]) -> None:
    """Raise ResultsError for an id that stands twice: results of a task must not hide each other."""
    first: dict[str, str] = {}
    for record in records:
        identity = str(record.value.get("id"))
        earlier = first.setdefault(identity, record.place)
        if earlier != record.place:
            raise ResultsError(f"{record.place}: the id {identity!r} stands twice, first at {earlier}")
