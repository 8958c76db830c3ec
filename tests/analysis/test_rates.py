from __future__ import annotations

from typing import Any

import pytest

from pytest_agentcap.analysis.estimators import clustered_interval, wilson_interval
from pytest_agentcap.analysis.gates import Gate
from pytest_agentcap.analysis.rates import rates_of
from pytest_agentcap.rating import check_gates, rate_lines


def result(task: str, trial: int, verdict: str | None, score: float = 1.0, **more: Any) -> dict[str, Any]:
    graders = [{"score": score}, {"score": 0.0}] if verdict in ("passed", "failed") else []
    told = {"corpus": "shop", "task_id": task, "trial": trial, "attempt": 1, "verdict": verdict, "calls": trial}
    return {**told, "graders": graders, **more}


RESULTS = [
    result("tea", 1, "passed"),
    result("tea", 2, "failed", 0.5),
    result("tea", 3, "passed"),
    result("milk", 1, "failed", 0.0),
    result("milk", 2, "agent_timeout"),
    result("milk", 3, "infra"),
    result("milk", 3, "passed", attempt=2),
    result("eggs", 1, None),
]


def test_rates_are_by_task_and_leave_out_what_was_not_judged():
    rates = rates_of(RESULTS)

    assert (rates.sessions, rates.judged, rates.passed, rates.pass_rate) == (7, 5, 3, 0.6)
    assert rates.excluded == {"agent_timeout": 1, "infra": 1}
    assert rates.pass_at == {"1": pytest.approx((2 / 3 + 1 / 2) / 2), "2": 1.0, "3": 1.0}
    assert rates.pass_pow == {"1": pytest.approx((2 / 3 + 1 / 2) / 2), "2": pytest.approx((1 / 3 + 0) / 2), "3": 0.0}
    assert rates.tasks_at == {"1": 2, "2": 2, "3": 1}
    assert rates.flakiness == pytest.approx((2 / 3 + 1) / 2)
    assert rates.score == pytest.approx((0.5 + 0.25 + 0.5 + 0 + 0.5) / 5)
    assert rates.calls == 1
    tea, milk, eggs = rates.tasks
    assert (tea.task_id, tea.pass_at["3"], tea.flakiness) == ("tea", 1.0, pytest.approx(2 / 3))
    assert milk.excluded == {"agent_timeout": 1}
    assert (eggs.pass_rate, eggs.excluded) == (None, {"infra": 1})


def test_nothing_judged_is_null_and_not_zero():
    rates = rates_of([result("tea", 1, "captured")])

    assert (rates.pass_rate, rates.pass_rate_interval, rates.score, rates.pass_at) == (None, None, None, {"1": None})
    assert rate_lines("pi/m", rates) == []
    assert rates_of([]).calls is None


def test_the_interval_of_single_trials_is_wilsons():
    assert clustered_interval([(1, 1)] * 7 + [(1, 0)] * 3) == pytest.approx(wilson_interval(10, 7))
    assert clustered_interval([(5, 3)]) == wilson_interval(5, 3)
    assert clustered_interval([(0, 0)]) is None


def test_trials_of_a_task_that_always_end_alike_count_once():
    assert clustered_interval([(8, 8)] * 6 + [(8, 0)] * 4) == pytest.approx(wilson_interval(10, 6))
    assert clustered_interval([(8, 8)] * 10) == pytest.approx(wilson_interval(10, 10))


def test_trials_that_are_independent_of_their_task_count_each():
    assert clustered_interval([(4, 2)] * 5) == pytest.approx(wilson_interval(20, 10))


def test_the_lines_tell_the_curves_and_each_task():
    lines = rate_lines("pi/m", rates_of(RESULTS))

    assert lines[0].startswith("pi/m: pass rate 0.60 [0.")
    assert lines[0].endswith("3 of 5 judged trials of 3 tasks; not judged: 1 agent_timeout, 1 infra")
    assert lines[1].startswith("  pass@k  0.58 1.00 1.00   pass^k  0.58 0.17 0.00   flakiness 0.83")
    assert lines[1].endswith("(over fewer tasks: k=1: 2 tasks, k=2: 2 tasks, k=3: 1 tasks)")
    assert [line.split()[:3] for line in lines[3:]] == [
        ["tea", "2/3", "0.67"],
        ["milk", "1/2", "0.50"],
        ["eggs", "0/0", "-"],
    ]


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("pass_rate=0.6", 0.6, True),
        ("pass_rate=0.61", 0.6, False),
        ("pass@2=1", 1.0, True),
        ("pass^3=0.1", 0.0, False),
        ("pass@4=0", None, False),
        ("judged=0.7", 5 / 7, True),
        ("calls=2", 1, False),
        ("score=.35", 0.35, True),
    ],
)
def test_a_gate_bounds_a_figure_from_below(text, value, met):
    [check] = check_gates([text], {"pi/m": rates_of(RESULTS)})

    assert check.value == (None if value is None else pytest.approx(value))
    assert check.is_met is met
    assert ("is met by pi/m" in check.line) is met


@pytest.mark.parametrize(
    "text",
    [
        "pass_rate",
        "rate=1",
        "pass@0=1",
        "pass@=1",
        "pass_rate=1.5",
        "pass_rate=nan",
        "calls=x",
        "score=-1",
        "calls=inf",
    ],
)
def test_what_is_no_gate_is_refused(text):
    with pytest.raises(ValueError, match=text.partition("=")[0].replace("^", r"\^")):
        Gate.parse(text)


def test_a_gate_is_spelled_again_as_it_was():
    assert [str(Gate.parse(text)) for text in ("pass@3=0.90", "calls=1")] == ["pass@3=0.9", "calls=1"]
