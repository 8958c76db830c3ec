from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_agentcap.analysis.estimators import (
    flakiness,
    pass_at_k,
    pass_pow_k,
    plug_in_pass_at_k,
    plug_in_pass_pow_k,
    wilson_interval,
)

COUNTS = [(n, c, k) for n in range(1, 8) for c in range(n + 1) for k in range(1, n + 1)]


@pytest.mark.parametrize(("n", "c", "k"), COUNTS)
def test_the_curves_are_the_shares_of_all_choices_of_k_trials(n, c, k):
    trials = [True] * c + [False] * (n - c)
    chosen = list(combinations(trials, k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(each) for each in chosen) / len(chosen))
    assert pass_pow_k(n, c, k) == pytest.approx(sum(all(each) for each in chosen) / len(chosen))


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("n", "k"), [(3, 2), (5, 3), (4, 4)])
def test_the_estimates_are_unbiased(n, k, p):
    expected = {"at": 0.0, "pow": 0.0, "flaky": 0.0}
    for outcome in product((0, 1), repeat=n):
        c = sum(outcome)
        weight = p**c * (1 - p) ** (n - c)
        expected["at"] += weight * pass_at_k(n, c, k)
        expected["pow"] += weight * pass_pow_k(n, c, k)
        expected["flaky"] += weight * flakiness(n, c)
    assert expected["at"] == pytest.approx(1 - (1 - p) ** k)
    assert expected["pow"] == pytest.approx(p**k)
    assert expected["flaky"] == pytest.approx(2 * p * (1 - p))


def test_with_as_many_trials_as_k_one_pass_is_enough_and_one_failure_too_much():
    assert (pass_at_k(5, 1, 5), pass_pow_k(5, 4, 5)) == (1, 0)


def test_plug_in_figures_are_those_of_agent_eval_harness():
    assert plug_in_pass_at_k(5, 3, 5) == pytest.approx(0.98976)
    assert plug_in_pass_pow_k(5, 3, 5) == pytest.approx(0.07776)
    assert plug_in_pass_at_k(5, 2, 5) == pytest.approx(0.92224)
    assert plug_in_pass_pow_k(5, 2, 5) == pytest.approx(0.01024)
    assert [plug_in_pass_at_k(4, c, 4) for c in (0, 4)] == [0, 1]


def test_too_few_trials_tell_nothing():
    assert pass_at_k(2, 1, 3) is None
    assert pass_pow_k(2, 2, 3) is None
    assert flakiness(1, 1) is None
    assert (wilson_interval(0, 0), plug_in_pass_at_k(0, 0, 1), plug_in_pass_pow_k(0, 0, 1)) == (None, None, None)


@pytest.mark.parametrize(("n", "c", "k"), [(2, 3, 1), (2, -1, 1), (2, 1, 0)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match="trials"):
        pass_at_k(n, c, k)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_interval_is_scipys(counts):
    n, c = counts
    interval = stats.binomtest(c, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(n, c) == pytest.approx((interval.low, interval.high), abs=1e-12)
