"""Images of prompts and of tools' results, in all APIs, come out of every export."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.conversation.model import Image
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.conversation.session import Conversation, read_conversation
from pytest_agentcap.formats.registry import FORMATS
from pytest_agentcap.runs.captures import Half

TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
Bodies = tuple[dict[str, Any], dict[str, Any]]


def chat(prompt: Image, result: Image, said: str) -> Bodies:
    def part(image: Image) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}

    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "look"}, part(prompt)]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [part(result)]},
    ]
    choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    return {"model": "m", "messages": messages}, {"choices": [choice]}


def responses(prompt: Image, result: Image, said: str) -> Bodies:
    def part(image: Image) -> dict[str, Any]:
        return {"type": "input_image", "image_url": f"data:{image.media_type};base64,{image.data}"}

    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"}, part(prompt)]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [part(result)]},
    ]
    answer = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": said}]}
    return {"model": "m", "input": items}, {"status": "completed", "output": [answer]}


def messages(prompt: Image, result: Image, said: str) -> Bodies:
    def part(image: Image) -> dict[str, Any]:
        source = {"type": "base64", "media_type": image.media_type, "data": image.data}
        return {"type": "image", "source": source}

    told = [
        {"role": "user", "content": [{"type": "text", "text": "look"}, part(prompt)]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [part(result)]}]},
    ]
    answer = {"role": "assistant", "content": [{"type": "text", "text": said}], "stop_reason": "end_turn"}
    return {"model": "m", "messages": told}, answer


def gemini(prompt: Image, result: Image, said: str) -> Bodies:
    shown = {"inlineData": {"mimeType": prompt.media_type, "data": prompt.data}}
    given = {"inline_data": {"mime_type": result.media_type, "data": result.data}}
    response = {"name": "look", "response": {"output": "seen"}, "parts": [given]}
    contents = [
        {"role": "user", "parts": [{"text": "look"}, shown]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": response}]},
    ]
    answer = {"content": {"role": "model", "parts": [{"text": said}]}, "finishReason": "STOP"}
    return {"contents": contents}, {"candidates": [answer]}


APIS: dict[str, Callable[[Image, Image, str], Bodies]] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
    "gemini": gemini,
}


def converse(api: str, prompt: Image, result: Image, verdict: str) -> Conversation:
    """Read one captured call of a session; sessions of other verdicts are other trials, and say other things."""
    passed = verdict == "passed"
    request, response = APIS[api](prompt, result, "a cat" if passed else "a dog")
    facts = {
        "request_id": ("a" if passed else "b") * 32, "api": api, "run_id": "run", "corpus": "c", "task_id": "t",
        "session": verdict, "trial": 1 if passed else 2, "attempt": 1, "turn": 1, "call_index": 1, "agent": "pi",
        "verdict": verdict, "model": "m", "status_code": 200, "started_at_ns": 1,
    }  # fmt: skip
    half = Half({}, "body", json.dumps(response).encode())
    return read_conversation([CallRecord(facts, json.dumps(request).encode(), half)])


images = st.builds(
    lambda kind, data: Image(kind, base64.b64encode(data).decode()),
    st.sampled_from(TYPES),
    st.binary(min_size=24, max_size=96),
)


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=20, deadline=None)
@given(prompt=images, result=images)
def test_images_of_prompts_and_results_are_in_the_conversation_and_in_every_export(
    api: str, prompt: Image, result: Image
) -> None:
    trials = [converse(api, prompt, result, verdict) for verdict in ("passed", "failed")]
    (call,) = trials[0].calls
    shown = [part for message in call.request.messages for part in message.parts]
    given = [part for message in call.request.messages for r in message.tool_results for part in r.parts]
    assert [part for part in shown if isinstance(part, Image)] == [prompt]
    assert [part for part in given if isinstance(part, Image)] == [result]
    # AgentTrace's rows tell what took how long, and no messages.
    for name, each in ((name, each) for name, each in FORMATS.items() if name != "agenttrace"):
        written = b"".join(line.data for line in each.load()(trials)).decode()
        for image in (prompt, result):
            assert image.data, name
            assert image.data in written, name
            assert str(image.media_type) in written, name
