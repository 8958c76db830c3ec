"""Request bodies of a session read one after another: what one repeats of those before it is parsed once.

An agent sends its whole conversation with every call, so that a body usually begins with all bytes of an earlier one
up to the end of its messages. What is repeated is found by comparing text, which costs a thousandth of parsing it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, AnyStr

from pytest_agentcap.conversation.values import Document, parse

# What the wire APIs call the list that grows.
_LISTS = frozenset({"messages", "input", "contents"})
_KEPT = 4
_STEP = 1 << 16
_BLANK = " \t\n\r"
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class _Body:
    """Hold a body taken apart: the list's items and where in the text each ends, and the members around the list."""

    text: str
    key: str
    before: Document
    start: int
    items: list[Any]
    ends: list[int]
    after: Document

    @property
    def tail(self) -> str:
        return self.text[self.ends[-1] if self.ends else self.start :]

    @property
    def document(self) -> Document:
        return {**self.before, self.key: self.items, **self.after}


@dataclass(slots=True)
class RepeatedBodies:
    """Read bodies as `json.loads` does; items that one repeats are the same objects, which nobody may change."""

    _recent: list[_Body] = field(default_factory=list)

    def read(self, text: bytes) -> Any:
        """Return the body's JSON value, None when the text is none."""
        try:
            body = self._take_apart(text.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            return parse(text)
        if body is None:
            return parse(text)
        self._recent = [body, *self._recent][:_KEPT]
        return body.document

    def _take_apart(self, text: str) -> _Body | None:
        """Go on behind the longest beginning that a recent body shares; None for a body without a list of objects."""
        best, kept = None, -1
        for body in self._recent:
            shared = common_prefix(body.text, text)
            items = bisect_right(body.ends, shared)
            if shared >= body.start and items > kept:
                best, kept = body, items
                if items == len(body.items):
                    break
        if best is None:
            return _begin(text)
        if kept == len(best.items):
            self._recent.remove(best)
        start = best.ends[kept - 1] if kept else best.start
        return _go_on(text, best, best.items[:kept], best.ends[:kept], start)


def common_prefix(one: AnyStr, other: AnyStr) -> int:
    """Return how many characters, or bytes, two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high and other.startswith(one[low : low + _STEP], low):
        low += _STEP
    low, high = min(low, high), min(low + _STEP, high)
    while low < high:
        middle = (low + high + 1) // 2
        if other.startswith(one[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low


def _begin(text: str) -> _Body | None:
    """Read the members before the list, then the rest."""
    before: Document = {}
    at = _expect(text, _skip(text, 0), "{")
    while True:
        key, at = _key(text, at)
        if key in _LISTS and text.startswith("[", at):
            return _go_on(text, _Body(text, key, before, at + 1, [], [], {}), [], [], at + 1)
        before[key], at = _decode(text, at)
        at = _skip(text, at)
        if not text.startswith(",", at):
            return None
        at += 1


def _go_on(text: str, known: _Body, items: list[Any], ends: list[int], at: int) -> _Body | None:
    """Read the list's other items and the members behind it; an item that is no object ends by what follows it."""
    while True:
        at = _skip(text, at)
        if text.startswith("]", at):
            break
        at = _skip(text, _expect(text, at, ",")) if items else at
        item, at = _decode(text, at)
        if not isinstance(item, dict):
            return None
        items.append(item)
        ends.append(at)
    body = _Body(text, known.key, known.before, known.start, items, ends, known.after)
    if known.text is not text and body.tail == known.tail:
        return body
    return _Body(text, known.key, known.before, known.start, items, ends, _members(text, at + 1))


def _members(text: str, at: int) -> Document:
    """Read the members behind the list up to the end of the body."""
    members: Document = {}
    at = _skip(text, at)
    while text.startswith(",", at):
        key, at = _key(text, at + 1)
        members[key], at = _decode(text, at)
        at = _skip(text, at)
    if _skip(text, _expect(text, at, "}")) != len(text):
        raise ValueError("more than one value")
    return members


def _key(text: str, at: int) -> tuple[str, int]:
    """Read a member's key and return where its value begins."""
    key, at = _decode(text, _skip(text, at))
    if not isinstance(key, str):
        raise ValueError("a key that is no text")
    return key, _skip(text, _expect(text, _skip(text, at), ":"))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _expect(text: str, at: int, sign: str) -> int:
    if not text.startswith(sign, at):
        raise ValueError(f"no {sign} at {at}")
    return at + 1
