"""The texts that a stream brings in pieces: put together to be looked at, and taken apart again to be changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

# What tells two texts of one stream apart that stand at the same place of their events.
_DISCRIMINATORS = ("type", "event", "index", "output_index", "content_index", "summary_index", "item_id")


@dataclass(frozen=True, slots=True)
class Piece:
    """Name one string inside an event: the event's line, what holds the string, and its key there."""

    line: int
    holder: Any
    key: Any

    @property
    def text(self) -> str:
        return str(self.holder[self.key])


@dataclass(slots=True)
class StreamText:
    """Read a stream of server-sent events so that texts which came in pieces can be found and replaced whole.

    A text is what stands at one place of event after event, whatever the API; nothing is known of any.
    """

    lines: list[str]
    _documents: dict[int, Any] = field(default_factory=dict)
    _texts: dict[tuple[Any, ...], list[Piece]] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: str) -> StreamText:
        """Read the whole text of a stream."""
        # str.splitlines would also end lines at U+2028 and the like, which JSON may hold unescaped.
        stream = cls(raw.split("\n"))
        for number, line in enumerate(stream.lines):
            if line.startswith("data:"):
                stream._read(number, line.removeprefix("data:"))
        return stream

    def _read(self, number: int, data: str) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(document, dict):
            self._documents[number] = document
            marks = tuple(str(document.get(name)) for name in _DISCRIMINATORS)
            for place, holder, key in _strings(document):
                self._texts.setdefault((marks, place), []).append(Piece(number, holder, key))

    def texts(self) -> Iterator[str]:
        """Yield what came in more than one piece, put together; what is the same in every event is left out."""
        for pieces in self._texts.values():
            told = [piece.text for piece in pieces]
            if len(set(told)) > 1:
                yield "".join(told)

    def replace(self, replacements: Sequence[tuple[str, str]]) -> int:
        """Replace what is spread over several pieces; return how often."""
        changed: set[int] = set()
        found = 0
        for pieces in self._texts.values():
            if len(pieces) > 1:
                for old, new in replacements:
                    found += _replace_spread(pieces, old, new, changed)
        for number in changed:
            told = json.dumps(self._documents[number], separators=(",", ":"))
            end = "\r" if self.lines[number].endswith("\r") else ""
            self.lines[number] = f"data: {told}{end}"
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines)


def _strings(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, str):
            yield (*place, key), value, key
        elif isinstance(item, dict | list):
            # Parallel tool calls come one at a time, each as the only element of its list.
            number = item.get("index", key) if isinstance(value, list) and isinstance(item, dict) else key
            yield from _strings(item, (*place, str(number)))


def _replace_spread(pieces: Sequence[Piece], old: str, new: str, changed: set[int]) -> int:
    whole = "".join(piece.text for piece in pieces)
    found, start = 0, whole.find(old)
    while start >= 0:
        _put(pieces, start, start + len(old), new, changed)
        whole = "".join(piece.text for piece in pieces)
        found, start = found + 1, whole.find(old, start + len(new))
    return found


def _put(pieces: Sequence[Piece], start: int, end: int, new: str, changed: set[int]) -> None:
    """Put a text into the piece in which a span begins, and take the rest of the span out of those after it."""
    at = 0
    for piece in pieces:
        text = piece.text
        first, last = max(start - at, 0), min(end - at, len(text))
        if first < last:
            piece.holder[piece.key] = text[:first] + (new if at + first == start else "") + text[last:]
            changed.add(piece.line)
        at += len(text)
