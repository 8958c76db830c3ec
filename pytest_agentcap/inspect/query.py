"""What somebody types into fzf, as far as it can be shown in a preview: the texts that are looked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"(?:\\ |\S)+")
_FOUND = "\x1b[1;31m"
_END = "\x1b[0m"


def terms_of(query: str) -> tuple[str, ...]:
    """Return the texts that a query of fzf's extended search looks for, without its signs `' ^ $ ! |`.

    Terms that must not match are left out. `\\ ` is a blank within a term.
    """
    terms = []
    for word in _WORD.findall(query):
        term = word.replace("\\ ", " ")
        if term == "|" or term.startswith("!"):
            continue
        if len(term) > 1:
            term = term.removesuffix("$")
        if term.startswith("'"):
            term = term[1:].removesuffix("'")
        terms.append(term.removeprefix("^"))
    return tuple(dict.fromkeys(filter(None, terms)))


def highlight(text: str, terms: Sequence[str]) -> str:
    """Show each place where a term stands in bold red; case counts, as in fzf, for terms with capitals only.

    `text` must be printable already.
    """
    pattern = pattern_of(terms)
    return pattern.sub(lambda found: f"{_FOUND}{found[0]}{_END}", text) if pattern else text


def pattern_of(terms: Sequence[str]) -> re.Pattern[str] | None:
    """Return what finds any of the terms, the longest first; None without terms."""
    ordered = sorted(terms, key=len, reverse=True)
    each = [re.escape(term) if term.lower() != term else f"(?i:{re.escape(term)})" for term in ordered]
    return re.compile("|".join(each)) if each else None
