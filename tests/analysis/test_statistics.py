from __future__ import annotations

import math
import sys
from itertools import product

import pytest
from scipy import stats

from pytest_agentcap.analysis.statistics import (
    Bootstrap,
    StatisticsError,
    cohens_d,
    holm,
    percentile,
    permutation_p_value,
)


def test_percentiles_are_not_interpolated():
    assert percentile([100, 90, 80, 70, 60, 50, 40, 30, 20, 10], 0.5) == 60
    assert percentile([], 0.5) is None


def test_the_permutation_test_flips_all_signs():
    differences = [0.5, -0.25, 1.0, 0.75, 0.0, 0.5]
    means = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=6)]
    extreme = sum(abs(mean) >= abs(sum(differences)) - 1e-12 for mean in means)
    assert permutation_p_value(differences, 0) == pytest.approx(extreme / len(means))


def test_a_hand_computed_example():
    # Three differences of 1: of the eight ways to sign them, +++ and --- are as extreme.
    assert permutation_p_value([1, 1, 1], 0) == pytest.approx(2 / 8)
    # Mean 2, deviations -1, 0, 1: the standard deviation is 1.
    assert cohens_d([1, 2, 3]) == pytest.approx(2)
    assert holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])


@pytest.mark.parametrize(("better", "worse", "same"), [(7, 1, 4), (3, 3, 0), (9, 0, 2)])
def test_with_passes_it_is_mcnemars_exact_test(better, worse, same):
    differences = [1.0] * better + [-1.0] * worse + [0.0] * same
    expected = stats.binomtest(better, better + worse).pvalue
    assert permutation_p_value(differences, 0) == pytest.approx(expected)


def test_no_difference_is_no_evidence():
    assert permutation_p_value([0.0, 0.0], 0) == 1.0
    assert permutation_p_value([0.5], 0) == 1.0
    assert permutation_p_value([], 0) is None
    assert cohens_d([0.1 + 0.2, 0.3]) is None


def test_many_differences_are_drawn_from_the_seed():
    differences = [(-1) ** n * n / 30 for n in range(1, 31)]
    assert permutation_p_value(differences, 3) == permutation_p_value(differences, 3)


def test_the_same_seed_draws_the_same_interval():
    values = [0.1, 0.9, 0.4, 0.6, 0.2]
    assert Bootstrap(1).mean(values) == Bootstrap(1).mean(values)
    assert Bootstrap(1).mean(values) != Bootstrap(2).mean(values)
    low, high = Bootstrap(1).mean(values)
    assert min(values) <= low < sum(values) / 5 < high <= max(values)


def test_trials_of_a_task_are_drawn_together():
    # Ten trials in all, but two tasks: whatever is drawn, the mean is 0, 0.5 or 1.
    assert Bootstrap().ratio([5, 0], [5, 5]) == (0.0, 1.0)
    flat = Bootstrap().mean([1.0] * 5 + [0.0] * 5)
    assert flat[1] - flat[0] < 1


def test_one_task_has_no_interval():
    assert Bootstrap().mean([0.5]) is None
    assert Bootstrap().ratio([1, 0], [2, 0]) is None


def test_without_scipy_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(StatisticsError, match=r"pip install 'pytest-agentcap\[stats\]'"):
        Bootstrap().mean([1, 2, 3])


def test_how_much_is_held_at_once_changes_no_figure(monkeypatch):
    values = [math.sin(n) for n in range(40)]
    told = (Bootstrap().mean(values), Bootstrap().ratio(values, [2] * 40), permutation_p_value(values, 0))
    monkeypatch.setattr("pytest_agentcap.analysis.statistics._HELD", 1000)
    assert (Bootstrap().mean(values), Bootstrap().ratio(values, [2] * 40), permutation_p_value(values, 0)) == told
