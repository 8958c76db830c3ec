from __future__ import annotations

import json

import pytest

from pytest_agentcap.conversation.model import Sampling
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.conversation.session import read_conversation
from pytest_agentcap.runs.captures import Half
from pytest_agentcap.telemetry.steps import model_steps

SECOND = 1_000_000_000


def streamed(events: list[dict], arrivals: list[float], api: str = "chat") -> CallRecord:
    """Record a call whose answer came as these events, in pieces that arrived at these milliseconds."""
    facts = {
        "request_id": "a" * 32, "api": api, "call_index": 1, "turn": 2, "started_at_ns": SECOND, "duration_ms": 900.0,
        "first_byte_ms": 100.0, "chunk_ms": arrivals, "status_code": 200,
    }  # fmt: skip
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    body = {"model": "m", "stream": True, "temperature": 0.5, "seed": 7, "messages": [{"role": "user", "content": "x"}]}
    return CallRecord(facts, json.dumps(body).encode(), Half({}, "raw", json.dumps(text).encode()))


def chunk(finish_reason=None, **delta) -> dict:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


EVENTS = [
    chunk(role="assistant"),
    chunk(reasoning_content="hm"),
    chunk(content="hi"),
    {**chunk(finish_reason="stop"), "usage": {
        "prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1},
        "prompt_tokens_details": {"cached_tokens": 3}}},
]  # fmt: skip


def step_of(record: CallRecord):
    (step,) = model_steps(read_conversation([record]))
    return step


def test_a_response_is_a_step_with_its_times_tokens_and_sampling():
    step = step_of(streamed(EVENTS, [100.0, 200.0, 300.0, 400.0]))
    assert (step.request_id, step.turn, step.thread_kind, step.relation) == ("a" * 32, 2, "main", "starts")
    assert (step.started_at_ns, step.first_byte_at_ns, step.ended_at_ns) == (SECOND, 1_100_000_000, 1_900_000_000)
    assert step.time_to_first_token_s == pytest.approx(0.2)
    assert step.duration_s == pytest.approx(0.9)
    assert (step.prompt_tokens, step.completion_tokens, step.cached_tokens, step.reasoning_tokens) == (5, 2, 3, 1)
    assert (step.output, step.reasoning, step.finish_reason) == ("hi", "hm", "stop")
    assert step.sampling == Sampling(temperature=0.5, seed=7)


@pytest.mark.parametrize(
    ("arrivals", "at_ms", "quality"),
    [
        ([100.0, 200.0, 300.0, 400.0], 200, "exact"),
        ([100.0, 250.0], 250, "window"),
        ([100.0], 100, "window"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], None, "none"),
        ([], None, "none"),
    ],
)
def test_the_first_token_is_as_sure_as_the_pieces_allow(arrivals, at_ms, quality):
    step = step_of(streamed(EVENTS, arrivals))
    assert step.first_token_at_ns == (None if at_ms is None else SECOND + at_ms * 1_000_000)
    assert step.first_token_quality == quality


@pytest.mark.parametrize(
    ("api", "events", "first"),
    [
        ("completions", [{"choices": [{"text": ""}]}, {"choices": [{"text": "x"}]}], 1),
        ("messages", [{"type": "message_start", "message": {}}, {"type": "content_block_start", "content_block": {
            "type": "text", "text": ""}}, {"type": "content_block_delta", "delta": {"text": "x"}}], 2),
        ("messages", [{"type": "ping"}, {"type": "content_block_start", "content_block": {"type": "tool_use"}}], 1),
        ("responses", [{"type": "response.created"}, {"type": "response.output_text.delta", "delta": "x"}], 1),
        ("gemini", [{"candidates": []}, {"candidates": [{"content": {"parts": [{"text": "x"}]}}]}], 1),
    ],
)  # fmt: skip
def test_each_api_has_its_own_first_token(api, events, first):
    record = streamed(events, [float(at) for at in range(len(events))], api)
    facts = {**record.facts, "path": "/v1beta/models/m:streamGenerateContent"}
    step = step_of(CallRecord(facts, record.request, record.response))
    assert step.first_token_at_ns == SECOND + first * 1_000_000


def test_a_whole_answer_has_no_first_token(new_session):
    session = new_session()
    step = step_of(session.call([session.user("hi")], session.says("hello"), chunk_ms=[10.0]))
    assert (step.first_token_at_ns, step.first_token_quality) == (None, "none")
    assert step.output == "hello"


def test_retries_and_side_questions_are_told_apart(new_session):
    session = new_session()
    first = [session.SYSTEM, session.user("work")]
    session.call(first, None)
    session.call(first, session.says("done"))
    session.call([session.user("a title, please")], session.says("Work"), tools=None)
    steps = model_steps(read_conversation(session.records))
    assert [(s.relation, s.thread_kind, s.failed) for s in steps] == [
        ("starts", "main", True),
        ("retries", "main", False),
        ("starts", "side", False),
    ]


def test_a_call_without_a_response_is_no_step(new_session):
    session = new_session()
    record = session.call([session.user("hi")], session.says("hello"))
    assert model_steps(read_conversation([CallRecord(record.facts, record.request, None)])) == ()
