from __future__ import annotations

import json

import pytest

from pytest_agentcap.runs.completeness import Part, attempts_in_order, take_census
from pytest_agentcap.runs.layout import RunDirectory

MANIFEST = {"agent": "pi", "model": "m", "provider": "local"}
ABCDEF = {"sessions": 6, "sha256": "abc"}


@pytest.fixture
def part(tmp_path):
    """Make a run: the tests it was to run, and the verdicts of those that began, in the order they did."""

    def make(
        name: str, expected: str, verdicts: dict[str, str | None], started: float = 1.0, selected=ABCDEF, **facts
    ) -> Part:
        run = RunDirectory(tmp_path / name)
        run.results.mkdir(parents=True)
        run.manifest.write_text(json.dumps(MANIFEST | facts))
        run.plan.write_text(json.dumps({"nodeids": list(expected), **({"selected": selected} if selected else {})}))
        for number, (test, verdict) in enumerate(verdicts.items()):
            result = {"nodeid": test, "session": test, "attempt": 1, "verdict": verdict, "started_at": started + number}
            run.result(test).write_text(json.dumps({"format": "agentcap-result-1", **result}))
        return Part.read(run)

    return make


def test_every_test_is_done_failed_infra_or_missing(part):
    parts = [
        part("one", "abc", {"a": "passed", "b": "agent_error", "c": "infra"}, shard="1/2"),
        part("two", "def", {"d": "captured", "e": None}, shard="2/2"),
    ]
    [census] = take_census(parts)
    assert (census.done, census.failed, census.infra, census.missing) == (("a", "d"), ("b",), ("c",), ("e", "f"))
    assert (census.unlisted, census.complete, census.absent_shards()) == (0, False, [])
    assert census.shards_of("ef") == ["2/2"]
    assert census.shards_of("cf") == ["1/2", "2/2"]


def test_verdicts_that_stand_make_it_complete_whatever_they_are(part):
    verdicts = {"a": "passed", "b": "failed", "c": "agent_timeout", "d": "limit", "e": "no_calls"}
    [census] = take_census([part("one", "abcdef", verdicts, skipped=["f"])])
    assert census.complete
    assert census.skipped == 1


def test_a_session_that_its_runs_limit_ended_is_to_be_run_again(part):
    run = part("one", "ab", {"a": "limit", "b": "limit"}, selected=None)
    limited = json.loads(run.run.result("a").read_bytes()) | {"run_limit": True}
    run.run.result("a").write_text(json.dumps(limited))
    [census] = take_census([Part.read(run.run)])
    assert (census.infra, census.failed, census.complete) == (("a",), ("b",), False)


def test_a_test_that_was_skipped_once_and_ran_later_counts(part):
    [census] = take_census([part("one", "ab", {"a": "passed"}, skipped=["a", "b"], selected=None)])
    assert (census.done, census.skipped, census.complete) == (("a",), 1, True)


def test_a_shard_that_nobody_ran_is_missed_and_named(part):
    [census] = take_census([part("one", "ab", {"a": "passed", "b": "passed"}, shard="2/3")])
    assert not census.complete
    assert census.unlisted == 4
    assert census.absent_shards() == ["1/3", "3/3"]


def test_a_shard_that_was_run_again_counts_by_its_last_session(part):
    first = part("one", "ab", {"a": "infra", "b": "passed"}, shard="1/2", selected={"sessions": 2, "sha256": "x"})
    again = part("two", "ab", {"a": "passed", "b": "infra"}, 9.0, shard="1/2", selected={"sessions": 2, "sha256": "x"})
    [census] = take_census([again, first])
    assert (census.done, census.infra) == (("a",), ("b",))
    numbers = attempts_in_order([again, first])
    assert numbers == {("one", "a"): 1, ("two", "a"): 2, ("one", "b"): 1, ("two", "b"): 2}


def test_a_clock_that_was_put_back_does_not_turn_attempts_around(part):
    run = part("one", "a", {"a": "infra"}, 9000.0, selected=None)
    again = {**json.loads(run.run.result("a").read_bytes()), "session": "a-a2", "attempt": 2, "verdict": "passed"}
    run.run.result("a-a2").write_text(json.dumps({**again, "started_at": 1.0}))
    run = Part.read(run.run)
    assert take_census([run])[0].done == ("a",)
    assert attempts_in_order([run]) == {("one", "a"): 1, ("one", "a-a2"): 2}


def test_runs_of_other_agents_and_of_other_tests_are_counted_apart(part):
    parts = [
        part("one", "abcdef", dict.fromkeys("abcdef", "passed")),
        part("two", "abcdef", {}, agent="goose"),
        part("three", "xy", {"x": "passed", "y": "passed"}, selected={"sessions": 2, "sha256": "other"}),
    ]
    assert [census.complete for census in take_census(parts)] == [True, False, True]


def test_a_cut_into_another_number_of_shards_is_judged_by_its_tests(part):
    parts = [
        part("one", "abc", dict.fromkeys("abc", "passed"), shard="1/2"),
        part("two", "cde", dict.fromkeys("cde", "passed"), 5.0, shard="2/3"),
    ]
    [census] = take_census(parts)
    assert (census.unlisted, census.absent_shards()) == (1, [])


def test_a_run_that_does_not_tell_what_it_was_to_run_is_named(tmp_path):
    run = RunDirectory(tmp_path / "old")
    run.captures.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"old is left out: it has no plan\.json"):
        Part.read(run)


def test_runs_without_shards_are_complete_when_their_own_tests_are(part):
    first = part("one", "abc", {"a": "passed"}, selected=None)
    again = part("two", "bc", {"b": "passed", "c": "passed"}, 9.0, selected=None)
    assert [census.complete for census in take_census([first, again])] == [True]
    assert [census.missing for census in take_census([first])] == [("b", "c")]
