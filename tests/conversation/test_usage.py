from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_agentcap.conversation.usage import Usage, usage_of
from pytest_agentcap.runs.captures import Half

CHAT = {
    "prompt_tokens": 12,
    "completion_tokens": 34,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 6},
}
RESPONSES = {
    "input_tokens": 12,
    "output_tokens": 34,
    "input_tokens_details": {"cached_tokens": 5},
    "output_tokens_details": {"reasoning_tokens": 6},
}
GEMINI = {
    "promptTokenCount": 10,
    "toolUsePromptTokenCount": 2,
    "candidatesTokenCount": 28,
    "thoughtsTokenCount": 6,
    "cachedContentTokenCount": 5,
}
ALL_TOLD = Usage(12, 34, 5, 6)


def body(document: Any) -> Half:
    return Half({}, "body", json.dumps(document).encode())


def stream(*events: Any, end: str = "\n") -> Half:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return Half({}, "raw", json.dumps("".join(f"data: {text}{end}{end}" for text in texts)).encode())


@pytest.mark.parametrize(
    ("api", "document", "usage"),
    [
        ("chat", {"usage": CHAT}, ALL_TOLD),
        ("completions", {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, Usage(1, 2)),
        ("responses", {"object": "response", "usage": RESPONSES}, ALL_TOLD),
        ("messages", {"usage": {"input_tokens": 1, "output_tokens": 2}}, Usage(1, 2)),
        ("embeddings", {"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8)),
        ("gemini", {"usageMetadata": GEMINI}, ALL_TOLD),
        ("gemini", [{"usageMetadata": {"promptTokenCount": 1}}, {"usageMetadata": GEMINI}], ALL_TOLD),
    ],
)
def test_a_whole_response_tells_its_usage(api, document, usage):
    assert usage_of(api, body(document)) == usage


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_chat_stream_tells_its_usage_in_a_late_chunk(end):
    silent = [{"choices": [{"delta": {"content": str(n)}}], "usage": None} for n in range(5)]
    assert usage_of("chat", stream(*silent, {"choices": [], "usage": CHAT}, "[DONE]", end=end)) == ALL_TOLD


def test_of_several_reports_in_a_chat_stream_the_last_counts():
    reports = [{"usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in (1, 2, 3)]
    assert usage_of("chat", stream(*reports)) == Usage(9, 3)


def test_a_responses_stream_tells_its_usage_in_its_last_event():
    events = [{"type": "response.created", "response": {"usage": None}}, {"type": "x", "delta": '"usage":{'}]
    done = {"type": "response.completed", "response": {"usage": RESPONSES}}
    assert usage_of("responses", stream(*events, done)) == ALL_TOLD


def test_message_delta_wins_for_output_and_completes_the_input_of_message_start():
    start = {"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 100, "output_tokens": 1}
    events = [{"type": "message_start", "message": {"usage": start}}, {"type": "message_delta", "usage": {}}]
    delta = {"type": "message_delta", "usage": {"output_tokens": 40, "input_tokens": 0}}
    assert usage_of("messages", stream(*events, delta)) == Usage(123, 40, 20)


def test_a_message_stream_that_broke_off_tells_what_it_told():
    half = stream({"type": "message_start", "message": {"usage": {"input_tokens": 3}}})
    assert usage_of("messages", half) == Usage(3)


def test_a_gemini_stream_tells_its_usage_cumulatively():
    half = stream({"usageMetadata": {"promptTokenCount": 10}}, {"usageMetadata": GEMINI})
    assert usage_of("gemini", half) == ALL_TOLD


def test_gemini_thoughts_without_an_answer_are_the_completion():
    assert usage_of("gemini", body({"usageMetadata": {"promptTokenCount": 1, "thoughtsTokenCount": 7}})) == Usage(
        1, 7, None, 7
    )


def test_broken_json_in_one_event_does_not_stop_the_rest():
    good = {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    assert usage_of("chat", stream('{"usage":{"prompt_tokens":', good, '{"usage":{"a"')) == Usage(1, 2)


def test_a_cut_last_event_is_still_read():
    half = Half({}, "raw", json.dumps('data: {"usage":{"prompt_tokens":1,"completion_tokens":2}}').encode())
    assert usage_of("chat", half) == Usage(1, 2)


def test_an_event_over_several_data_lines_is_read():
    text = 'event: x\ndata: {"usage": {"prompt_tokens": 1,\ndata: "completion_tokens": 2}}\n\n'
    assert usage_of("chat", Half({}, "raw", json.dumps(text).encode())) == Usage(1, 2)


@pytest.mark.parametrize(
    "half",
    [
        None,
        body({"choices": []}),
        body({"usage": None}),
        body({"usage": {}}),
        body("usage"),
        body(["usage"]),
        body({"error": {"message": "no usage"}}),
        body({"usage": {"prompt_tokens": "12", "completion_tokens": True}}),
        body({"usage": {"prompt_tokens": -1, "completion_tokens": 1.5}}),
        stream("[DONE]"),
        stream({"usage": None}),
        Half({}, "body", b'{"usage":'),
        Half({}, "raw", b'"usage'),
        Half({}, "body", b"[" * 100_000 + b'"usage"'),
        Half({}, "body", b'{"usage":{"prompt_tokens":NaN,"completion_tokens":1e999}}'),
    ],
)
def test_a_missing_or_odd_figure_is_none_and_never_zero(half):
    assert usage_of("chat", half) == Usage()


def test_a_told_zero_is_a_zero():
    assert usage_of("chat", body({"usage": {"prompt_tokens": 3, "completion_tokens": 0}})) == Usage(3, 0)


def test_an_unknown_api_tells_nothing():
    assert usage_of("other", body({"usage": CHAT})) == Usage()


def test_text_that_speaks_of_usage_is_no_usage():
    spoken = {"choices": [{"delta": {"content": '"usage":{"prompt_tokens":99}'}}]}
    assert usage_of("chat", stream(spoken)) == Usage()
