"""Gates: figures of a run that must not be below a threshold."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pytest_agentcap.analysis.rates import RunRates

_FIGURES = ("pass_rate", "score", "judged", "calls")
_GATE = re.compile(r"(?:(pass_rate|score|judged|calls)|(pass[@^])([1-9]\d*))=(.+)")


@dataclass(frozen=True, slots=True)
class Gate:
    """Bound a figure from below: `name` is pass_rate, score, judged, calls, or pass@ or pass^ with its `k`."""

    name: str
    k: int | None
    threshold: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read `NAME=NUMBER`. Raises ValueError saying what is wrong."""
        found = _GATE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no gate: give {', '.join(_FIGURES)}, pass@K or pass^K, = and a number")
        figure, curve, k, number = found.groups()
        try:
            threshold = float(number)
        except ValueError:
            threshold = math.nan
        most = math.inf if figure == "calls" else 1.0
        if not 0 <= threshold <= most or math.isinf(threshold):
            raise ValueError(f"{text!r}: {number!r} is not a number from 0 {'on' if most > 1 else 'to 1'}")
        return cls(figure or curve, int(k) if k else None, threshold)

    def __str__(self) -> str:
        return f"{self.name}{self.k or ''}={self.threshold:g}"

    def value(self, rates: RunRates) -> float | None:
        """Return a run's figure, None where nothing tells it."""
        match self.name:
            case "pass@":
                return rates.pass_at.get(str(self.k))
            case "pass^":
                return rates.pass_pow.get(str(self.k))
            case "judged":
                return rates.judged / rates.sessions if rates.sessions else None
            case _:
                figure: float | None = getattr(rates, self.name)
                return figure

    def is_met(self, rates: RunRates) -> bool:
        """Tell whether the figure reaches the threshold; one that nothing tells does not."""
        value = self.value(rates)
        # 4 of 5 is 0.8, whatever the last bit of a mean says.
        return value is not None and value >= self.threshold - 1e-9
