"""What an unrecorded request differs in from the recorded one that is nearest to it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_agentcap.replay.form import Form

_CONTEXT = 2
_MOST_LINES = 80
_MOST_CHARS = 200


def nearest_of(form: Form, others: Sequence[Form]) -> int | None:
    """Return the place of the form that shares the most lines with this one, the first of equals; None of none."""
    lines = Counter(form.lines)

    def apart(place: int) -> int:
        other = Counter(others[place].lines)
        return (lines - other).total() + (other - lines).total()

    return min(range(len(others)), key=apart, default=None)


def difference(recorded: Form, asked: Form) -> list[str]:
    """Return a unified diff from the recorded to the asked request: at most 80 lines of 200 characters."""
    told = list(_lines(recorded.lines, asked.lines))
    left = len(told) - _MOST_LINES
    return told if left <= 0 else [*told[:_MOST_LINES], f"… and {left} more lines"]


def _lines(old: list[str], new: list[str]) -> Iterator[str]:
    # Requests are long and differ at their end: what is the same at both ends is no work for difflib.
    start = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, start - _CONTEXT)
    old, new = old[start:], new[start:]
    same = next(
        (at for at, (a, b) in enumerate(zip(reversed(old), reversed(new), strict=False)) if a != b),
        min(len(old), len(new)),
    )
    cut = max(0, same - _CONTEXT)
    diff = difflib.unified_diff(
        old[: len(old) - cut], new[: len(new) - cut], "recorded", "asked", lineterm="", n=_CONTEXT
    )
    for line in diff:
        if not line.startswith("@@"):
            yield line if len(line) <= _MOST_CHARS else f"{line[:_MOST_CHARS]}…"
