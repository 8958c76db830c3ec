"""What the user says from the second turn on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Followup(Protocol):
    """Give the prompt of a turn; `turn` counts from 1 and is 2 at the first call."""

    def prompt(self, turn: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Rotation:
    """Say the texts of a list in turn."""

    texts: tuple[str, ...]

    def prompt(self, turn: int) -> str:
        return self.texts[(turn - 2) % len(self.texts)]


CONTINUE = Rotation(("continue",))
TEMPLATES = Rotation(("continue", "go on", "what else?", "keep going"))


def followup_named(name: str) -> Followup:
    """Return the follow-up of an option's value."""
    return {"continue": CONTINUE, "templates": TEMPLATES}[name]
