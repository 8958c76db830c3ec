"""The path dialect of headless adapter schemas: a small part of JSONPath, and literals.

`'text'` is that text. A path is `$.` and steps between dots: `name`, `name[0]`, `[0]`, and `name[*]`, which is the list
itself, whatever follows. There are no filters, negative indexes or quoted names.
"""

from __future__ import annotations

import json
import re
from typing import Any

ANYTHING = "*"
_STEP = re.compile(r"(?P<name>[^\[\]]*)(?:\[(?P<index>\d+|\*)\])?")


def is_path(text: str) -> bool:
    """Tell whether a text can select anything: a literal or a path, not of an unknown form."""
    if _is_literal(text):
        return True
    return text == "$" or (text.startswith("$.") and all(_STEP.fullmatch(step) for step in text[2:].split(".")))


def select(value: Any, path: str) -> Any:
    """Return what a path selects, None when there is nothing or the path is of an unknown form."""
    if _is_literal(path):
        return path[1:-1]
    if not path.startswith("$."):
        return None
    for text in path[2:].split("."):
        step = _STEP.fullmatch(text)
        if step is None:
            return None
        if step["name"]:
            value = value.get(step["name"]) if isinstance(value, dict) else None
        if step["index"] == "*":
            return value if isinstance(value, list) else None
        if step["index"]:
            place = int(step["index"])
            value = value[place] if isinstance(value, list) and place < len(value) else None
    return value


def as_text(value: Any) -> str | None:
    """Return a selected value as text: strings as they are, everything else as JSON; None for nothing."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def matches(value: Any, wanted: str) -> bool:
    """Tell whether a value is the wanted text; `*` stands for any value but null."""
    return value is not None if wanted == ANYTHING else value == wanted


def matching_items(values: list[Any], wanted: str) -> list[tuple[int, Any]]:
    """Return the items of a list that match, with their places: objects by their `type`, others by themselves."""
    kinds = [item.get("type") if isinstance(item, dict) and wanted != ANYTHING else item for item in values]
    return [(place, item) for place, item in enumerate(values) if matches(kinds[place], wanted)]


def _is_literal(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == "'"
