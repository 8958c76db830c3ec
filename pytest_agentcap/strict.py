"""JSON read strictly: what Python's parser would take beyond JSON, or resolve silently, is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


class NotStrictJSON(ValueError):
    """Say why a text that Python's parser would accept is refused."""


def loads(text: str | bytes) -> Any:
    """Read one JSON value; numbers are finite and keys of an object unique.

    Raises NotStrictJSON, or json.JSONDecodeError for what is no JSON at all.
    """
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotStrictJSON(f"the key {json.dumps(twice)} stands twice in one object")
    return record


def _refuse_constant(constant: str) -> NoReturn:
    raise NotStrictJSON(f"{constant} is not a JSON number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotStrictJSON(f"the number {digits} is too large")
    return value
