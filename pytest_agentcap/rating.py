"""What the end of a session says of rates and gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_agentcap.analysis.gates import Gate
from pytest_agentcap.analysis.rates import RunRates, TaskRates
from pytest_agentcap.text import printable

_WIDTH = 44


@dataclass(frozen=True, slots=True)
class GateCheck:
    """Say of one gate and one run, which `run` names, whether it is met."""

    gate: Gate
    run: str
    value: float | None
    is_met: bool

    @property
    def line(self) -> str:
        if self.value is None:
            return f"{self.gate} is not met by {self.run}: there is no such figure"
        return f"{self.gate} is {'met' if self.is_met else 'not met'} by {self.run}: {self.value:.3g}"


def check_gates(gates: Sequence[str], runs: Mapping[str, RunRates]) -> list[GateCheck]:
    """Hold every gate against every run, by name."""
    parsed = [Gate.parse(text) for text in gates]
    return [GateCheck(gate, run, gate.value(r), gate.is_met(r)) for gate in parsed for run, r in runs.items()]


def rate_lines(name: str, rates: RunRates) -> list[str]:
    """Say a run's rates: one line, and with several trials the curves and a line for each task."""
    if not rates.judged:
        return []
    apart = ", ".join(f"{count} {verdict}" for verdict, count in rates.excluded.items())
    counted = f"{rates.passed} of {rates.judged} judged trials of {len(rates.tasks)} tasks"
    lines = [
        f"{name}: pass rate {_fixed(rates.pass_rate)} [{_range(rates.pass_rate_interval)}], {counted}"
        + (f"; not judged: {apart}" if apart else "")
    ]
    if len(rates.pass_at) > 1:
        fewer = [f"k={k}: {n} tasks" for k, n in rates.tasks_at.items() if n < len(rates.tasks)]
        lines += [
            f"  pass@k  {_curve(rates.pass_at)}   pass^k  {_curve(rates.pass_pow)}   "
            f"flakiness {_fixed(rates.flakiness)}" + (f"   (over fewer tasks: {', '.join(fewer)})" if fewer else ""),
            *_table(rates.tasks),
        ]
    return lines


def _table(tasks: Sequence[TaskRates]) -> list[str]:
    rows = [("task", "passed", "rate", "95 %", "pass@k", "pass^k", "flaky", "not judged")]
    for task in tasks:
        apart = ", ".join(f"{count} {verdict}" for verdict, count in task.excluded.items())
        name = printable(task.task_id)
        rows.append(
            (
                name if len(name) <= _WIDTH else f"{name[: _WIDTH - 1]}…",
                f"{task.passed}/{task.judged}",
                _fixed(task.pass_rate),
                _range(task.pass_rate_interval),
                _curve(task.pass_at),
                _curve(task.pass_pow),
                _fixed(task.flakiness),
                apart,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _curve(figures: Mapping[str, float | None]) -> str:
    return " ".join(_fixed(value) for value in figures.values())


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2f} {interval[1]:.2f}"


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
