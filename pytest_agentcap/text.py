"""Captured text on its way to a terminal or a page: it was written by models and strangers."""

from __future__ import annotations

import re

# Controls but newline and tab; marks that reorder, hide or end text; halves of surrogate pairs, which no stream takes.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\],:"]|[^\s{}\[\],:"]+', re.DOTALL)
_DEEPEST = 200
_OPENING, _CLOSING = frozenset("{["), frozenset("}]")


def printable(text: str) -> str:
    r"""Show characters that could steer a terminal or hide text as `\uXXXX`; newlines and tabs stay.

    Inside a JSON string the escapes mean the same characters, so JSON text stays the same JSON.
    """
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def reindent(text: str) -> str:
    """Lay JSON text out by lines, two blanks a level, every string and number as it is spelled.

    Parsing and dumping would drop repeated keys and turn 1e400 into something else. Text that is no JSON comes out as
    the tokens it has.
    """
    pieces: list[str] = []
    depth, last = 0, ""
    for token in _TOKEN.findall(text):
        if token in _CLOSING:
            depth = max(0, depth - 1)
            pieces.append(token if last in _OPENING else _line(depth) + token)
        elif token == ":":
            pieces.append(": ")
        elif token == ",":
            pieces.append(",")
        else:
            if last == "," or last in _OPENING:
                pieces.append(_line(depth))
            pieces.append(token)
            depth += token in _OPENING
        last = token
    return "".join(pieces)


def _line(depth: int) -> str:
    # A line of 100,000 opening brackets would otherwise grow to gigabytes of blanks.
    return "\n" + "  " * min(depth, _DEEPEST)
