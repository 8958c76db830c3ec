from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_agentcap.runs.claims import Claim, possible_claims
from pytest_agentcap.runs.layout import create_run
from pytest_agentcap.runs.results import SessionResult, create_result


@pytest.fixture
def claim(tmp_path):
    run = create_run(tmp_path, "loop", "local")

    def make(task_id, nodeid=None, trial=1):
        nodeid = nodeid or f"tasks.txt::test_task[{task_id}-{trial}]"
        for claim in possible_claims(run, task_id, trial, nodeid):
            result = SessionResult(
                claim.session, task_id, 1, "c", "s", trial, claim.attempt, "loop", "1", "m", "host", nodeid, "p", 1.0
            )
            if create_result(run, result):
                return claim
        return None

    return make


def test_a_session_is_named_after_its_task_and_trial(claim):
    assert claim("list-files-1a2b3c") == Claim("list-files-1a2b3c", 1)
    assert claim("list-files-1a2b3c", trial=2) == Claim("list-files-1a2b3c-t2", 1)


def test_the_same_test_again_is_a_higher_attempt(claim):
    assert [claim("a") for _ in range(3)] == [Claim("a", 1), Claim("a-a2", 2), Claim("a-a3", 3)]
    assert [claim("a", trial=2) for _ in range(2)] == [Claim("a-t2", 1), Claim("a-t2-a2", 2)]


def test_another_test_over_a_task_of_the_same_id_is_no_attempt_of_it(claim):
    first, other = claim("a", "one.py::test"), claim("a", "two.py::test")

    assert (first, other.attempt) == (Claim("a", 1), 1)
    assert other.session.startswith("a-")
    assert claim("a", "two.py::test") == Claim(f"{other.session}-a2", 2)
    assert claim("a", "one.py::test") == Claim("a-a2", 2)


def test_a_task_that_is_named_like_an_attempt_does_not_change_the_count(claim):
    claim("a-a2", "two.py::test")
    assert claim("a").attempt == 1
    assert claim("a").attempt == 2
    assert claim("a").attempt == 3


def test_any_id_becomes_a_file_name(claim):
    assert "/" not in claim("../../etc/passwd").session


def test_parallel_sessions_never_share_a_name(claim):
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda number: claim("a", f"{number % 4}.py::test"), range(24)))

    assert len({each.session for each in claims}) == 24
    assert sorted(each.attempt for each in claims) == sorted([1, 2, 3, 4, 5, 6] * 4)
