from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_agentcap.conversation.model import (
    CallError,
    Image,
    Message,
    Opaque,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from pytest_agentcap.conversation.read import read_call, response_body
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.runs.captures import Half

RID = "a" * 32


def record(api: str, request: Any, response: Any = None, **facts: Any) -> CallRecord:
    """Make a record; a text response is a stream, None is none."""
    half = None
    if isinstance(response, str):
        half = Half({}, "raw", json.dumps(response).encode())
    elif response is not None:
        half = Half({}, "body", json.dumps(response).encode())
    return CallRecord({"request_id": RID, "api": api, **facts}, json.dumps(request).encode(), half)


def stream(*events: Any) -> str:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}\n\n" for text in texts)


PNG = "data:image/png;base64,iVBO"


def test_a_chat_request_is_read_with_all_its_parts():
    schema = {"type": "object", "properties": {"command": {"type": "string"}}}
    request = {
        "model": "org/m",
        "messages": [
            {"role": "developer", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "input_audio", "input_audio": {"data": "AA"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "done"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "bash", "description": "run", "parameters": schema}}],
        "temperature": 0,
        "max_completion_tokens": 9,
        "stop": "END",
        "seed": 3,
        "n": 2,
        "reasoning_effort": "low",
        "tool_choice": {"type": "function"},
        "stream": True,
    }
    call = read_call(record("chat", request))
    assert call.request.messages == (
        Message("system", (Text("be brief"),)),
        Message(
            "user",
            (
                Text("look"),
                Image("image/png", "iVBO"),
                Opaque("input_audio", '{"type":"input_audio","input_audio":{"data":"AA"}}'),
            ),
        ),
        Message("assistant", (Thinking("hm"), ToolCall("c1", "bash", '{"a":1}'))),
        Message("tool", (ToolResult("c1", (Text("done"),)),)),
    )
    assert call.request.tools == (Tool("bash", "run", schema),)
    sampling = call.request.sampling
    assert (sampling.temperature, sampling.max_tokens, sampling.stop, sampling.seed) == (0, 9, ("END",), 3)
    assert (sampling.choices, sampling.reasoning_effort, sampling.tool_choice) == (2, "low", '{"type":"function"}')
    assert (call.request.system, call.request.stream, call.answer) == ("be brief", True, None)


def test_a_messages_request_splits_results_from_texts():
    request = {
        "model": "claude",
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "xx"},
                    {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "ls"}},
                    {"type": "tool_use", "id": "t2", "name": "bash", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "no"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
                        ],
                    },
                    {"type": "tool_result", "tool_use_id": "t2", "content": "ok"},
                    {"type": "text", "text": "and now?"},
                ],
            },
        ],
        "tools": [
            {"name": "bash", "input_schema": {"type": "object"}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "max_tokens": 100,
        "thinking": {"type": "enabled", "budget_tokens": 64},
        "stop_sequences": ["x"],
    }
    call = read_call(record("messages", request))
    assert [message.role for message in call.request.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
    ]
    assert call.request.messages[2].parts == (
        Thinking("hm", "sig"),
        Thinking("", encrypted="xx"),
        ToolCall("t1", "bash", '{"command":"ls"}'),
        ToolCall("t2", "bash", "{}"),
    )
    assert call.request.messages[3].parts == (ToolResult("t1", (Text("no"), Image("image/png", "iVBO")), True),)
    assert call.request.messages[4].tool_results[0].text == "ok"
    assert call.request.tools[1] == Tool("web_search", kind="web_search_20250305")
    assert (call.request.sampling.reasoning_effort, call.request.sampling.stop) == ("64", ("x",))


def test_a_responses_request_groups_what_the_model_said():
    request = {
        "model": "gpt",
        "instructions": "be brief",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": PNG}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "xx"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]},
            {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"a":1}'},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Begin"},
            {"type": "local_shell_call", "call_id": "c3", "action": {"command": ["ls"]}},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "patched"}]},
            {"type": "local_shell_call_output", "call_id": "c3", "output": "a"},
        ],
        "tools": [{"type": "function", "name": "shell", "parameters": {}}, {"type": "custom", "name": "apply_patch"}],
        "reasoning": {"effort": "high"},
        "max_output_tokens": 5,
    }
    call = read_call(record("responses", request))
    assert [message.role for message in call.request.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "tool",
    ]
    assert call.request.messages[1].parts == (Image("image/png", "iVBO"),)
    assert call.request.messages[2].parts == (
        Thinking("hm", encrypted="xx"),
        Text("ok"),
        ToolCall("c1", "shell", '{"a":1}'),
        ToolCall("c2", "apply_patch", "*** Begin", "custom_tool"),
        ToolCall("c3", "local_shell", '{"command":["ls"]}', "local_shell"),
    )
    assert [result.text for message in call.request.messages for result in message.tool_results] == [
        "done",
        "patched",
        "a",
    ]
    assert [tool.kind for tool in call.request.tools] == ["function", "custom"]
    assert (call.request.sampling.reasoning_effort, call.request.sampling.max_tokens) == ("high", 5)


def test_a_gemini_request_is_read_with_the_model_of_its_path():
    request = {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "go"}, {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}]},
            {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True, "thoughtSignature": "s"},
                    {"functionCall": {"name": "shell", "args": {"command": "ls"}}},
                ],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "shell", "response": {"output": "a b"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "shell", "parametersJsonSchema": {"type": "object"}}]}],
        "generationConfig": {"temperature": 1, "topK": 64, "thinkingConfig": {"thinkingBudget": -1}},
    }
    call = read_call(record("gemini", request, model="gemini-x"))
    assert call.model == "gemini-x"
    assert [message.role for message in call.request.messages] == ["system", "user", "assistant", "tool"]
    assert call.request.messages[1].parts[1] == Image("image/png", "iVBO")
    assert call.request.messages[2].parts == (Thinking("hm", "s"), ToolCall(None, "shell", '{"command":"ls"}'))
    assert call.request.messages[3].tool_results[0] == ToolResult(None, (Text("a b"),), None, "shell")
    assert call.request.tools == (Tool("shell", None, {"type": "object"}),)
    assert (call.request.sampling.top_k, call.request.sampling.reasoning_effort) == (64, "-1")


def test_a_prompt_of_plain_completions_is_a_user_message():
    call = read_call(record("completions", {"prompt": ["a", "b"]}, {"choices": [{"text": "c"}], "model": "m"}))
    assert [message.text for message in call.request.messages] == ["a", "b"]
    assert call.said == Message("assistant", (Text("c"),))


@pytest.mark.parametrize(
    "facts",
    [
        {"api": "embeddings"},
        {"api": "other"},
        {"api": "messages", "path": "/v1/messages/count_tokens"},
    ],
)
def test_calls_without_a_conversation_are_opaque(facts):
    api = facts.pop("api")
    call = read_call(record(api, {"model": "m", "input": "x", "messages": []}, {"input_tokens": 3}, **facts))
    assert (call.opaque, call.request.messages, call.model, call.said) == (True, (), "m", None)


@pytest.mark.parametrize("body", [{"_unparsed_raw": "no json"}, [1], "text", None])
def test_a_request_that_is_no_json_object_is_opaque(body):
    assert read_call(record("chat", body, {"choices": []})).opaque


def test_an_error_answer_keeps_its_status_kind_and_message():
    body = {"error": {"message": "slow down", "type": "rate_limit_exceeded"}}
    call = read_call(record("chat", {"messages": []}, body, status_code=429))
    assert call.answer
    assert (call.answer.error, call.failed, call.said) == (
        CallError("http", "slow down", "rate_limit_exceeded"),
        True,
        None,
    )


@pytest.mark.parametrize(
    ("api", "events", "said", "message"),
    [
        (
            "chat",
            [{"choices": [{"delta": {"content": "he"}}]}, {"error": {"message": "overloaded", "code": 503}}],
            "he",
            "overloaded",
        ),
        (
            "messages",
            [
                {"type": "message_start", "message": {"content": []}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "he"}},
                {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}},
            ],
            "he",
            "overloaded",
        ),
        (
            "responses",
            [
                {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}},
                {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}},
                {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "he"},
                {"type": "response.failed", "response": {"status": "failed", "error": {"message": "overloaded"}}},
            ],
            None,
            "overloaded",
        ),
        ("responses", [{"type": "error", "code": "server_error", "message": "overloaded"}], None, "overloaded"),
        (
            "gemini",
            [
                {"candidates": [{"content": {"role": "model", "parts": [{"text": "he"}]}}]},
                {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
            ],
            "he",
            "overloaded",
        ),
    ],
)
def test_an_error_within_a_stream_is_told_beside_what_had_come(api, events, said, message):
    call = read_call(record(api, {}, stream(*events), status_code=200))
    assert call.answer
    assert call.answer.error
    assert (call.answer.error.source, call.answer.error.message, call.failed) == ("stream", message, True)
    if said:
        assert call.said
        assert call.said.text == said


def test_what_the_proxy_could_not_bring_is_a_transport_error():
    told = {"status_code": 200, "complete": False, "error": "upstream_cut: reset"}
    call = read_call(record("chat", {}, stream({"choices": [{"delta": {"content": "he"}}]}), **told))
    assert call.answer
    assert call.answer.error == CallError("transport", "upstream_cut: reset", "upstream_cut")
    assert (call.answer.ended, call.said) == (False, Message("assistant", (Text("he"),)))


def test_a_stream_without_its_end_has_not_ended():
    call = read_call(record("chat", {}, stream({"choices": [{"delta": {"content": "he"}}]}), status_code=200))
    assert call.answer
    assert (call.answer.ended, call.answer.error, call.failed) == (False, None, True)


def test_refusals_of_all_apis_are_refusals():
    chat = {"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]}
    assert read_call(record("chat", {}, chat)).said == Message("assistant", (Refusal("no"),))
    anthropic = {"type": "message", "content": [], "stop_reason": "refusal"}
    assert read_call(record("messages", {}, anthropic)).said == Message("assistant", (Refusal("refusal"),))
    item = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    response = {"status": "completed", "output": [item]}
    assert read_call(record("responses", {}, response)).said == Message("assistant", (Refusal("no"),))
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    assert read_call(record("gemini", {}, blocked)).said == Message("assistant", (Refusal("SAFETY"),))


def test_parallel_calls_that_share_an_index_are_told_apart_by_their_ids():
    def chunk(identity: str, arguments: str) -> dict[str, Any]:
        call = {"index": 0, "id": identity, "function": {"name": "f", "arguments": arguments}}
        return {"choices": [{"delta": {"tool_calls": [call]}}]}

    call = read_call(record("chat", {}, stream(chunk("a", "{}"), chunk("b", '{"x":1}'), "[DONE]")))
    assert call.said
    assert call.said.tool_calls == (ToolCall("a", "f", "{}"), ToolCall("b", "f", '{"x":1}'))


def test_a_tools_input_that_was_cut_off_stays_the_text_that_came():
    events = [
        {"type": "message_start", "message": {"content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a'}},
    ]
    call = read_call(record("messages", {}, stream(*events)))
    assert call.said
    assert call.said.tool_calls == (ToolCall("t", "f", '{"a'),)
    assert call.said.tool_calls[0].parsed_arguments is None


def test_gemini_also_answers_with_an_array_of_chunks():
    chunks = [{"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in ("he", "llo")]
    chunks.append({"candidates": [{"finishReason": "STOP"}]})
    call = read_call(record("gemini", {}, chunks))
    assert call.said == Message("assistant", (Text("hello"),))
    assert not call.failed


def test_several_choices_are_an_answer_and_its_alternatives():
    choices = [{"index": n, "message": {"content": str(n)}, "finish_reason": "stop"} for n in range(3)]
    answer = read_call(record("chat", {}, {"choices": choices})).answer
    assert answer
    assert [message.text for message in answer.alternatives] == ["1", "2"]


def test_a_stream_that_was_stored_as_no_json_is_read_as_a_stream():
    text = stream({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]})
    assert read_call(record("chat", {}, {"_unparsed_raw": text})).said == Message("assistant", (Text("hi"),))
    failed = read_call(record("chat", {}, {"_unparsed_raw": "Bad Gateway\n"}, status_code=502))
    assert failed.answer
    assert failed.answer.error == CallError("http", "Bad Gateway")


def test_times_are_on_one_clock_and_unknown_ones_are_none():
    told = {"started_at_ns": 5_000_000_000, "first_byte_ms": 1.5, "duration_ms": 20.0}
    call = read_call(record("chat", {}, **told))
    assert (call.first_byte_at_ns, call.ended_at_ns) == (5_001_500_000, 5_020_000_000)
    old = read_call(record("chat", {}, captured_at=7))
    assert (old.started_at_ns, old.first_byte_at_ns, old.ended_at_ns) == (7_000_000_000, None, None)


def test_the_body_of_a_stream_is_the_merged_one():
    events = stream({"id": "x", "choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}, "[DONE]")
    body = response_body(read_call(record("chat", {}, events)))
    assert body
    assert json.loads(body)["choices"][0]["message"]["content"] == "hi"
    assert response_body(read_call(record("chat", {}))) is None
