"""Where a push goes: the repositories that OWNER/BASE stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(r"^(?:hf://)?(?:datasets/)?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SLUG = re.compile(r"[^A-Za-z0-9._-]+")
# What the Hub allows a repository's name to have.
_LONGEST = 96


class DestinationError(ValueError):
    """Say what is wrong with OWNER/BASE."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Name the repositories of one base, as agentcap does: captures, traces by agent, and the collection over them."""

    owner: str
    base: str

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read OWNER/BASE, with or without `hf://datasets/` before it.

        Raises DestinationError.
        """
        owner, slash, base = _PREFIX.sub("", text).partition("/")
        if not (slash and _NAME.fullmatch(owner) and _NAME.fullmatch(base)) or "--" in base or ".." in base:
            raise DestinationError(f"{text!r} is no place to push to: give OWNER/BASE, such as me/my-captures-2026")
        longest = _LONGEST - len("-captures")
        if len(base) > longest:
            raise DestinationError(f"{text!r}: a base has at most {longest} characters")
        return cls(owner, base)

    @property
    def captures(self) -> str:
        return f"{self.owner}/{self.base}-captures"

    def traces(self, agent: str) -> str:
        return f"{self.owner}/{self.base}-{_SLUG.sub('-', agent)}-traces"

    def __str__(self) -> str:
        return f"{self.owner}/{self.base}"
