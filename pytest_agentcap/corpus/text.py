"""Read a corpus of one prompt a line."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_agentcap.corpus.source import Entry, Source


def read_text(source: Source) -> Iterator[Entry]:
    """Yield an entry for each line that is neither blank nor a `#` comment, without its outer white space."""
    for number, line in source.lines():
        prompt = line.strip()
        if not prompt.startswith("#"):
            yield Entry(line=number, prompts=(prompt,))
