"""Figures and texts as agent-eval-harness writes them into its reports."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any


def number(value: float | None) -> str:
    """Write a number as JavaScript does, without a fraction that is nothing; `null` for none."""
    if value is None:
        return "null"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def fixed(value: float | None, digits: int) -> str:
    """Write a number with so many decimals, halves away from zero as JavaScript does; a dash for none."""
    return "-" if value is None else str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def cut(text: str, length: int) -> str:
    """Shorten a text that is longer, marked by three dots."""
    return text if len(text) <= length else f"{text[:length]}..."


def plain(value: Any) -> str:
    """Write a value of metadata: lists joined by commas, objects as JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case list():
            return ",".join("" if item is None else plain(item) for item in value)
        case dict():
            import json

            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def joined(value: str | list[str], separator: str) -> str:
    """Join the prompts of a task of several turns."""
    return value if isinstance(value, str) else separator.join(value)


def fence(text: str) -> str:
    """Return a fence that no line of the text closes."""
    longest = max((len(run) for line in text.split("\n") if (run := _ticks(line))), default=0)
    return "`" * max(3, longest + 1)


def _ticks(line: str) -> str:
    stripped = line.lstrip()
    return stripped[: len(stripped) - len(stripped.lstrip("`"))]
