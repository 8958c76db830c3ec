"""What the user says from the second turn on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class Followup(Protocol):
    """Give the prompt of a turn; `turn` counts from 1 and is 2 at the first call."""

    def prompt(self, turn: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Said:
    """Hold what was said in one turn: the prompt that was sent, and the agent's reply."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Draft:
    """Hold a prompt, and what the session's notes say of how it came about."""

    prompt: str
    note: str | None = None


@runtime_checkable
class Drafter(Protocol):
    """Write the prompt of a turn after what was said in the turns before it."""

    def draft(self, turn: int, said: Sequence[Said]) -> Draft: ...


@dataclass(frozen=True, slots=True)
class Rotation:
    """Say the texts of a list in turn."""

    texts: tuple[str, ...]

    def prompt(self, turn: int) -> str:
        return self.texts[(turn - 2) % len(self.texts)]


CONTINUE = Rotation(("continue",))
TEMPLATES = Rotation(("continue", "go on", "what else?", "keep going"))


def followup_named(name: str) -> Followup:
    """Return the follow-up of an option's value that needs nothing but its name."""
    return {"continue": CONTINUE, "templates": TEMPLATES}[name]


def next_prompt(followup: Followup | Drafter, turn: int, said: Sequence[Said]) -> Draft:
    """Return what is said in a turn."""
    if isinstance(followup, Drafter):
        return followup.draft(turn, said)
    return Draft(followup.prompt(turn))
