"""The columns of a captures parquet: agentcap's, in its order, then what this project adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from pytest_agentcap.publish.columns import COLUMNS

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])
NAMES = tuple(SCHEMA.names)
BODIES = frozenset({"request", "response"})

# Texts that repeat over many rows. Statistics of bodies would copy megabytes into the footer and serve no query.
_LARGE = BODIES | {"request_headers", "response_headers", "chunk_ms", "telemetry", "chunk_bytes"}
DICTIONARY_COLUMNS = [f.name for f in SCHEMA if f.type == _TEXT and f.name not in _LARGE | {"request_id"}]
STATISTICS_COLUMNS = [f.name for f in SCHEMA if f.name not in _LARGE]


_WHOLE, _NUMBERS = frozenset({int}), frozenset({int, float})
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def fit(name: str, value: Any) -> Any:
    """Return a captured value as its column takes it; one of another type or out of its range is unknown, None.

    Pair files come from many writers; one odd field must not cost its row.
    """
    return None if value is None else _FITTING[name](value)


def _fit_text(value: Any) -> str | None:
    # JSON may hold half a surrogate pair, UTF-8 may not.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None


def _fit_whole(value: Any) -> int | None:
    return value if type(value) is int and _LOWEST <= value <= _HIGHEST else None


def _fit_number(value: Any) -> float | None:
    # A whole number may be too large for a float.
    return float(value) if type(value) is float or (type(value) is int and abs(value) <= _HIGHEST) else None


def _fit_flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _fit_numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list) or not _NUMBERS.issuperset(map(type, value)):
        return None
    fitting = list(map(_fit_number, value))
    return None if None in fitting else fitting  # type: ignore[return-value]


def _fit_wholes(value: Any) -> list[int] | None:
    if not isinstance(value, list) or not _WHOLE.issuperset(map(type, value)):
        return None
    return value if all(_LOWEST <= each <= _HIGHEST for each in value) else None


_BY_TYPE: Mapping[pa.DataType, Callable[[Any], Any]] = {
    _TEXT: _fit_text,
    _INT: _fit_whole,
    _FLOAT: _fit_number,
    _BOOL: _fit_flag,
    pa.list_(_FLOAT): _fit_numbers,
    pa.list_(_INT): _fit_wholes,
}
# Asking each field for its name and type, for each row, takes longer than all the fitting.
_FITTING: Mapping[str, Callable[[Any], Any]] = {field.name: _BY_TYPE[field.type] for field in SCHEMA}
