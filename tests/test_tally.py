from __future__ import annotations

import json

import pytest

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.tally import UNCOUNTED, Tally, total_tokens

TWO_MODELS = "python3 call work; AGENTCAP_MODEL=tiny-titles python3 call title; python3 call more"


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path)
    run.captures.mkdir()
    return run


def write_call(run: RunDirectory, rid: str, body: object, usage: tuple[int, int] | None = (3, 4)) -> str:
    rid = rid * 32
    head = {"request_id": rid, "api": "chat", "path": "/v1/chat/completions"}
    (run.captures / f"{rid}.request.json").write_text(json.dumps({**head, "body": body}))
    told = {"usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}} if usage else {}
    (run.captures / f"{rid}.response.json").write_text(json.dumps({"request_id": rid, "stream": False, "body": told}))
    return rid


def test_tokens_that_nobody_reported_are_none_and_not_0():
    assert total_tokens({}, 0) is None
    assert total_tokens({"a": (None, 2), "b": (None, None), "c": (None, 3)}, 0) is None
    assert total_tokens({"a": (None, 2), "b": (None, None), "c": (None, 3)}, 1) == 5


def test_calls_of_another_model_are_told_apart(run):
    rids = [
        write_call(run, "a", {"model": "org/big"}),
        write_call(run, "b", {"model": "big"}, (10, 20)),
        write_call(run, "c", {"model": "small"}, (100, 200)),
        write_call(run, "d", {"messages": []}, None),
        "e" * 32,
    ]
    tally = Tally.of(run, rids, "org/big")
    assert tally.others == {rids[2]: "small"}
    assert set(tally.own_tokens) == {rids[0], rids[1], rids[3]}
    assert tally.by_model(rids, "org/big") == {
        "org/big": {"calls": 4, "prompt_tokens": 13, "completion_tokens": 24},
        "small": {"calls": 1, "prompt_tokens": 100, "completion_tokens": 200},
    }
    assert tally.note is None


def test_an_agent_that_calls_the_model_by_another_name_is_counted_and_noted(run):
    rids = [write_call(run, "a", {"model": "alias"})]
    tally = Tally.of(run, rids, "org/big")
    assert tally.others == {}
    assert tally.note == "no call asked for org/big, all asked for alias, and are counted as its"


def test_nothing_is_counted_as_nothing():
    assert UNCOUNTED.by_model([], "m") == {"m": {"calls": 0, "prompt_tokens": None, "completion_tokens": None}}


def test_a_second_model_is_captured_under_its_id_and_does_not_count_as_the_tasks(project, http_upstream):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": f"{TWO_MODELS}; exit 1"}, {"id": "b", "input": TWO_MODELS})
    usage = b'{"usage": {"prompt_tokens": 5, "completion_tokens": 7}}'
    with http_upstream(lambda _: (200, usage)) as upstream:
        options = ("--model", "org/big", "--upstream", upstream.url)
        result = project.pytest("--agent", "shell", "--sandbox", "host", *options)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*chat * 200 * 5+7  tiny-titles"])
    result.stdout.fnmatch_lines(["shell  org/big * 2 * 2 * 4 * 20 * 28  1 agent_error, 1 captured"])
    result.stdout.fnmatch_lines(["captured, not counted above: 2 calls to tiny-titles"])
    for kept in project.results():
        assert (kept["calls"], kept["prompt_tokens"], len(kept["request_ids"])) == (3, 10, 3)
        assert kept["models"]["tiny-titles"] == {"calls": 1, "prompt_tokens": 5, "completion_tokens": 7}


def test_a_second_model_that_fails_is_not_why_the_turn_did(project, http_upstream):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": "python3 call work; AGENTCAP_MODEL=tiny python3 call title; exit 3"})
    answers = iter([200, 404])
    with http_upstream(lambda path: (next(answers) if path.endswith("completions") else 200, b"{}")) as upstream:
        options = ("--model", "big", "--upstream", upstream.url)
        project.pytest("--agent", "shell", "--sandbox", "host", *options).assert_outcomes(failed=1)
    [kept] = project.results()
    assert (kept["verdict"], kept["models"]["tiny"]["prompt_tokens"]) == ("agent_error", None)
