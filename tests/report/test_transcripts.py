"""`transcripts/<repository>.jsonl`: what a session asked, was answered and did, under AgentGym's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.conversation.session import read_conversation
from pytest_agentcap.report.outcomes import read_run
from pytest_agentcap.report.transcripts import Event, session_events


@pytest.fixture
def told(make_run, new_session):
    """Tell the events of a session that was written down."""

    def tell(session: Any) -> list[Event]:
        run, _ = read_run(make_run("one", ("buy", "passed", {})))
        return session_events(read_conversation(session.records), run.outcomes[0])

    return tell


@pytest.fixture
def shopping(new_session):
    session = new_session("buy")
    asks = session.says("let me look", ("c1", {"command": "ls fridge"}), thinking="milk?")
    asked = [session.SYSTEM, session.user("buy milk")]
    session.call(asked, asks)
    session.call([*asked, asks, session.result("c1", "eggs")], None)
    session.call([*asked, asks, session.result("c1", "eggs")], session.says("bought"))
    return session


def test_a_session_is_told_in_the_order_in_which_it_went(told, shopping):
    events = told(shopping)
    assert [each["event"] for each in events] == [
        *("llm_request", "llm_response", "tool_result"),
        *("llm_request", "llm_error", "llm_request", "llm_response"),
    ]
    assert {(each["task_id"], each["trial"]) for each in events} == {("buy", 1)}
    assert [each["ts"] for each in events[:3]] == [
        "1970-01-01T00:00:01.000000+00:00",
        "1970-01-01T00:00:01.500000+00:00",
        "1970-01-01T00:00:02.000000+00:00",
    ]


def test_no_message_is_told_twice_and_none_is_lost(told, shopping):
    requests = [each for each in told(shopping) if each["event"] == "llm_request"]
    messages: dict[str | None, list[Any]] = {None: []}
    for each in requests:
        before = messages[each["previous_request_id"]]
        messages[each["request_id"]] = [*before[: each["messages_kept"]], *each["messages"]]
    assert [[message["role"] for message in each["messages"]] for each in requests] == [
        ["system", "user"],
        ["assistant", "tool"],
        [],
    ]
    last = messages[requests[-1]["request_id"]]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "tool"]
    assert last[3] == {"role": "tool", "content": "eggs", "tool_call_id": "c1"}
    assert ["tools" in each for each in requests] == [True, False, False]


def test_answers_and_results_have_the_shape_that_chat_completions_have(told, shopping):
    _, answer, result, *_ = told(shopping)
    (choice,) = answer["response"]["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == ("let me look", "milk?")
    (call,) = choice["message"]["tool_calls"]
    assert (call["id"], call["function"]) == ("c1", {"name": "bash", "arguments": '{"command": "ls fridge"}'})
    assert answer["response"]["usage"]["total_tokens"] == 11
    assert (result["tool_name"], result["tool_input"], result["tool_output"], result["ok"], result["error"]) == (
        *("bash", {"command": "ls fridge"}, "eggs", True),
        None,
    )


def test_a_call_that_failed_says_how(told, shopping):
    (failed,) = [each for each in told(shopping) if each["event"] == "llm_error"]
    assert (failed["status_code"], failed["message"], failed["url"]) == (503, "overloaded", "https://host/v1")
    assert json.loads(failed["response_text"]) == {"error": {"message": "overloaded"}}


def test_a_call_without_times_stays_where_it_was_made(told, new_session):
    session = new_session("buy")
    session.call([session.user("a")], session.says("b"))
    session.call([session.user("a"), session.says("b"), session.user("c")], session.says("d"), started_at_ns=None)
    events = told(session)
    assert [each["ts"] is None for each in events] == [False, False, True, True]


def test_a_report_has_a_log_of_each_repository(make_run, new_session, assessment):
    run = make_run("one", ("other", "infra", assessment("numpy", 0)))
    session = new_session("buy")
    session.call([session.user("buy \ud83e milk")], session.says("bought"))
    session.save(run)
    assert main(["report", "one", "-o", "out"]) == 0
    logs = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(Path("out/one/transcripts").iterdir())
    }
    assert {name: [each["event"] for each in events] for name, events in logs.items()} == {
        "numpy": ["repo_started", "repo_finished"],
        "shop": ["repo_started", "llm_request", "llm_response", "repo_finished"],
    }
    started = logs["numpy"][0]
    assert (started["repo_id"], started["run_id"], started["tasks_count"]) == ("numpy", "one", 1)
    assert (started["model"]["model"], started["ts"]) == ("m", "1970-01-01T00:00:10.000000+00:00")
