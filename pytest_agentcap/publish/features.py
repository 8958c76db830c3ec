"""The features that a captures card declares, so that files of any version, agentcap's own too, load as one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pytest_agentcap.publish.schema import SCHEMA

_NAMES: Mapping[pa.DataType, str] = {pa.float64(): "float64", pa.int64(): "int64", pa.bool_(): "bool"}


def dataset_info() -> dict[str, Any]:
    """Return `dataset_info` of a card's metadata: each column with its type, in the spelling of `datasets`.

    Where a file lacks a column, `datasets` then fills it with null; else it would refuse all files but the first.
    """
    return {"features": [_feature(column.name, column.type) for column in SCHEMA]}


def with_missing_features(known: Any) -> Any:
    """Add the columns that a card's `dataset_info` does not name yet; what is spelled otherwise stays as it is."""
    features = known.get("features") if isinstance(known, dict) else None
    if not isinstance(features, list) or not all(isinstance(each, dict) for each in features):
        return known
    named = {each.get("name") for each in features}
    return {**known, "features": [*features, *(f for f in dataset_info()["features"] if f["name"] not in named)]}


def _feature(name: str, kind: pa.DataType) -> dict[str, str]:
    if pa.types.is_list(kind):
        return {"name": name, "list": _dtype(kind.value_type)}
    return {"name": name, "dtype": _dtype(kind)}


def _dtype(kind: pa.DataType) -> str:
    return _NAMES.get(kind, "string")
