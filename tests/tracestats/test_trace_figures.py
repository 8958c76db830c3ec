from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_agentcap.conversation.sources import Faults
from pytest_agentcap.tracestats.figures import Distribution, TimeShare, distribution, retry_chains, time_share
from pytest_agentcap.tracestats.rows import read_row
from pytest_agentcap.tracestats.sources import read_traces


@pytest.fixture
def trace(run):
    (trace,) = read_traces(["shop-run"], Faults())
    return trace


def test_percentiles_lie_between_the_two_nearest_values():
    told = distribution([4, None, 1, 2, 3])
    assert (told.n, told.unknown, told.p50, told.max, told.mean) == (4, 1, 2.5, 4, 2.5)
    assert told.p90 == pytest.approx(3.7)


def test_nothing_known_is_none_and_not_zero():
    assert distribution([None]) == Distribution(0, 1)
    assert distribution([0]).p50 == 0


def test_time_that_steps_and_tool_calls_share_counts_once(trace):
    # Three answers of 0.5 s each with 0.5 s between them.
    assert time_share(trace) == TimeShare(1.5, 1.0, 0.0)
    first, _ = trace.calls
    both = replace(trace, calls=(first, replace(first, span_id="again")), total_s=3.0)
    assert time_share(both) == TimeShare(1.5, 0.5, 1.0)


def test_durations_without_a_common_clock_are_added_up(foreign):
    assert time_share(read_row(foreign, "f")) == TimeShare(0.5, 0.25, 0.25)


def test_time_that_cannot_be_split_is_not_known(foreign):
    trace = read_row(foreign, "f")
    assert time_share(replace(trace, total_s=None)) is None
    assert time_share(replace(trace, total_s=0.6)) is None
    assert time_share(replace(trace, steps=(replace(trace.steps[0], duration_s=None),))) is None


def test_a_chain_is_calls_of_one_tool_of_which_all_but_the_last_failed(trace):
    (chain,) = retry_chains(trace)
    assert (chain.tool, chain.calls, chain.recovered) == ("bash", 2, True)
    failed, passed = trace.calls
    other = replace(passed, tool="read")
    assert retry_chains(replace(trace, calls=(failed, other, passed))) == []
    (long,) = retry_chains(replace(trace, calls=(failed, failed, failed, other)))
    assert (long.calls, long.recovered) == (3, False)
    unknown = replace(passed, exit_code=None, is_error=None)
    (open_,) = retry_chains(replace(trace, calls=(failed, unknown)))
    assert open_.recovered is False


def test_calls_of_other_threads_are_in_no_chain(trace):
    failed, passed = trace.calls
    assert retry_chains(replace(trace, calls=(failed, replace(passed, thread=1)))) == []
