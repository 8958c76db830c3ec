"""What a session or a run may use of its upstream, and what it has used."""

from __future__ import annotations

from dataclasses import dataclass

# The property of a test that its run's limit kept from beginning: its reason.
NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True)
class Used:
    """Count calls, tokens of both sides, and US dollars, as far as they are known."""

    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def plus(self, other: Used) -> Used:
        return Used(self.calls + other.calls, self.tokens + other.tokens, self.cost_usd + other.cost_usd)


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold what may be used, None where there is no limit; `prefix` begins the names of the options that say so."""

    calls: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    prefix: str = "--"

    def __bool__(self) -> bool:
        return (self.calls, self.tokens, self.cost_usd) != (None, None, None)

    def reached(self, used: Used) -> str | None:
        """Say which limit allows no further call."""
        whose = "the run's" if self.prefix != "--" else "the session's"
        if self.calls is not None and used.calls >= self.calls:
            return f"{whose} {self.calls} calls are used up ({self.prefix}max-calls)"
        if self.tokens is not None and used.tokens >= self.tokens:
            return f"{whose} {self.tokens} tokens are used up: {used.tokens} ({self.prefix}max-tokens)"
        if self.cost_usd is not None and used.cost_usd >= self.cost_usd:
            return f"{whose} ${self.cost_usd:g} are used up: ${used.cost_usd:.4f} ({self.prefix}max-cost)"
        return None
