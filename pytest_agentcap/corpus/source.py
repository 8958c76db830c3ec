"""What corpus readers are given and what they return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class CorpusError(Exception):
    """Say in one line what is wrong with a corpus: `path:line: what is wrong; what to do`."""


@dataclass(frozen=True, slots=True)
class Source:
    """Hold the text of one corpus file and the name that messages show for it."""

    name: str
    text: str

    def lines(self) -> Iterator[tuple[int, str]]:
        r"""Yield (1-based number, line) of each line that is not blank.

        Lines end at \n alone: U+2028, form feed or a lone \r inside a prompt are part of it.
        """
        for number, line in enumerate(self.text.split("\n"), start=1):
            if line.strip():
                yield number, line

    def at(self, line: int) -> str:
        return f"{self.name}:{line}"

    def error(self, line: int, problem: str, remedy: str) -> CorpusError:
        return CorpusError(f"{self.at(line)}: {problem}; {remedy}")


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold what one corpus entry says, before the corpus gives it an id and an index.

    `line` is where it starts, 1-based. The other fields are those of `Task`; `id` is None where the file names none.
    `images` are paths from the corpus's folder on.
    """

    line: int
    prompts: tuple[str, ...]
    id: str | None = None
    hint: str | None = None
    references: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    images: tuple[str, ...] = ()
