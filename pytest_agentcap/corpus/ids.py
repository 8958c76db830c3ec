"""Derive task ids that stay the same when other lines of a corpus change."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from pytest_agentcap.runs.names import safe_name, to_ascii

_SLUG_CHARS = 40
_APOSTROPHES = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}]")
_LETTER = re.compile("[a-z]")
_WORD = re.compile(r"[a-z0-9]+")


def task_id(prompt: str) -> str:
    """Return `<slug>-<6 hex>` of a prompt: its first words in ASCII, about 40 characters, and its hash."""
    digest = hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=3).hexdigest()
    return f"{_slug(prompt)}-{digest}"


def assign_ids(tasks: Iterable[tuple[str | None, str]]) -> tuple[str, ...]:
    """Return the id of each (explicit id or None, prompt).

    Derived ids that repeat get an ordinal in order: `x`, `x-2`, `x-3`. An explicit id keeps its spelling when it is a
    safe file name, else it becomes `safe_name` of it; explicit ids that repeat are left for the caller to refuse.
    """
    seen: Counter[str] = Counter()
    ids = []
    for explicit, prompt in tasks:
        if explicit is not None:
            ids.append(safe_name(explicit))
            continue
        derived = task_id(prompt)
        seen[derived] += 1
        ids.append(derived if seen[derived] == 1 else f"{derived}-{seen[derived]}")
    return tuple(ids)


def _slug(prompt: str) -> str:
    plain = to_ascii(_APOSTROPHES.sub("", prompt)).lower()
    if not _LETTER.search(plain):
        return "task"
    slug = ""
    for word in _WORD.finditer(plain):
        longer = f"{slug}-{word[0]}" if slug else word[0][:_SLUG_CHARS]
        if len(longer) > _SLUG_CHARS:
            break
        slug = longer
    return slug
