"""The columns of a captures parquet: agentcap's, in its order, then what this project adds."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pytest_agentcap.publish.columns import COLUMNS

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])
BODIES = frozenset({"request", "response"})

# Texts that repeat over many rows. Statistics of bodies would copy megabytes into the footer and serve no query.
_LARGE = BODIES | {"request_headers", "response_headers", "chunk_ms", "telemetry", "chunk_bytes"}
DICTIONARY_COLUMNS = [f.name for f in SCHEMA if f.type == _TEXT and f.name not in _LARGE | {"request_id"}]
STATISTICS_COLUMNS = [f.name for f in SCHEMA if f.name not in _LARGE]


def fit(value: Any, kind: pa.DataType) -> Any:
    """Return a captured value as a column of this type takes it; one of another type is unknown, None.

    Pair files come from many writers; one odd field must not cost its row.
    """
    if kind == _TEXT:
        # JSON may hold half a surrogate pair, UTF-8 may not.
        return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None
    if kind == _BOOL:
        return value if isinstance(value, bool) else None
    if kind == _INT:
        return value if _is_number(value, int) and -(2**63) <= value < 2**63 else None
    if kind == _FLOAT:
        return float(value) if _is_number(value, int | float) else None
    numbers = int if kind.value_type == _INT else int | float
    return value if isinstance(value, list) and all(_is_number(item, numbers) for item in value) else None


def _is_number(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
