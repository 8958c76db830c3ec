"""Server-sent events read from text, as the HTML standard says they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one event: its type, `message` unless the stream named another, and its data lines joined by newlines."""

    event: str
    data: str


@dataclass(slots=True)
class EventDecoder:
    """Take a stream's text in any pieces and give its events as they end.

    Lines end with CRLF, CR or LF; a byte order mark at the start, comments and unknown fields are passed over.
    """

    _line: list[str] = field(default_factory=list)
    _data: list[str] = field(default_factory=list)
    _event: str = ""
    _at_start: bool = True
    _after_cr: bool = False

    def feed(self, text: str) -> Iterator[Event]:
        """Yield the events that this piece ends."""
        if self._at_start and text:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if not text:
            return
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        # str.splitlines would also end lines at U+2028 and the like, which JSON may hold unescaped.
        first, *rest = text.split("\n")
        self._line.append(first)
        for piece in rest:
            yield from self._take_line()
            self._line.append(piece)

    def close(self) -> Iterator[Event]:
        """Yield what the stream's end cut off: an event without its blank line, its last line maybe without its end.

        A browser drops it; a capture that broke off, or a server that forgets the last blank line, still shows it.
        """
        yield from self._take_line()
        yield from self._dispatch()

    def _take_line(self) -> Iterator[Event]:
        line = "".join(self._line)
        self._line.clear()
        if not line:
            yield from self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value

    def _dispatch(self) -> Iterator[Event]:
        if self._data:
            yield Event(self._event or "message", "\n".join(self._data))
        self._data.clear()
        self._event = ""


def read_events(text: str | Iterable[str], *, cut: bool = True) -> Iterator[Event]:
    """Yield the events of a whole stream, given as one text or in pieces.

    `cut` keeps a last event that has no blank line behind it; the standard drops it.
    """
    decoder = EventDecoder()
    for piece in [text] if isinstance(text, str) else text:
        yield from decoder.feed(piece)
    if cut:
        yield from decoder.close()
