"""The scripted model over a real socket, driven as the agents drive it."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.upstream.scripted import ScriptedModel

PROMPT = 'Write "hello" into hello.txt'
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}


@dataclass(frozen=True)
class Reply:
    """What a client has understood of an answer: its text or the command it is to run, and the items to send back."""

    text: str | None
    command: str | None
    call_id: str | None
    items: Sequence[Mapping[str, Any]]
    usage: tuple[int, int]


def events_of(text: str) -> list[tuple[str | None, dict[str, Any]]]:
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if fields["data"] != "[DONE]":
            events.append((fields.get("event"), json.loads(fields["data"])))
    return events


class Chat:
    def path(self, stream: bool) -> str:
        return "/v1/chat/completions"

    def body(self, history: Sequence[Any], stream: bool, tools: bool = True) -> dict[str, Any]:
        offered = [{"type": "function", "function": {"name": "bash", "description": "", "parameters": SCHEMA}}]
        options = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": "m", "messages": [*history], "stream": stream, **options, "tools": offered if tools else None}

    def user(self, text: str) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "text", "text": text}]}

    def result(self, call_id: str, text: str) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": call_id, "content": text}

    def reply(self, body: Mapping[str, Any]) -> Reply:
        assert body["object"] == "chat.completion"
        choice, usage = body["choices"][0], body["usage"]
        message = choice["message"]
        tokens = usage["prompt_tokens"], usage["completion_tokens"]
        assert usage["total_tokens"] == sum(tokens)
        if "tool_calls" not in message:
            assert choice["finish_reason"] == "stop"
            return Reply(message["content"], None, None, [message], tokens)
        assert choice["finish_reason"] == "tool_calls"
        (call,) = message["tool_calls"]
        assert call["function"]["name"] == "bash"
        return Reply(None, json.loads(call["function"]["arguments"])["command"], call["id"], [message], tokens)

    def streamed(self, text: str) -> Reply:
        assert text.endswith("data: [DONE]\n\n")
        chunks = [chunk for _, chunk in events_of(text)]
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert chunks[-1]["choices"] == []
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        for chunk in chunks[:-1]:
            assert chunk["usage"] is None
            delta = chunk["choices"][0]["delta"]
            message["content"] += delta.get("content") or ""
            for part in delta.get("tool_calls", ()):
                call = message.setdefault("tool_calls", [part])[0]
                if part is not call:
                    call["function"]["arguments"] += part["function"]["arguments"]
        choice = {**chunks[-2]["choices"][0], "message": message}
        return self.reply({"object": "chat.completion", "choices": [choice], "usage": chunks[-1]["usage"]})


class Responses:
    def path(self, stream: bool) -> str:
        return "/v1/responses"

    def body(self, history: Sequence[Any], stream: bool, tools: bool = True) -> dict[str, Any]:
        offered = [{"type": "function", "name": "bash", "parameters": SCHEMA, "strict": False}]
        return {"model": "m", "input": [*history], "stream": stream, "tools": offered if tools else []}

    def user(self, text: str) -> dict[str, Any]:
        return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}

    def result(self, call_id: str, text: str) -> dict[str, Any]:
        return {"type": "function_call_output", "call_id": call_id, "output": text}

    def reply(self, body: Mapping[str, Any]) -> Reply:
        assert (body["object"], body["status"]) == ("response", "completed")
        usage = body["usage"]
        tokens = usage["input_tokens"], usage["output_tokens"]
        assert usage["total_tokens"] == sum(tokens)
        (item,) = body["output"]
        assert item["status"] == "completed"
        if item["type"] == "message":
            return Reply(item["content"][0]["text"], None, None, [item], tokens)
        assert (item["type"], item["name"]) == ("function_call", "bash")
        return Reply(None, json.loads(item["arguments"])["command"], item["call_id"], [item], tokens)

    def streamed(self, text: str) -> Reply:
        events = events_of(text)
        assert [event["type"] for _, event in events] == [name for name, _ in events]
        assert [event["sequence_number"] for _, event in events] == list(range(len(events)))
        names = list(dict.fromkeys(name for name, _ in events))
        assert names[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
        assert names[-2:] == ["response.output_item.done", "response.completed"]
        body = events[-1][1]["response"]
        deltas = "".join(event["delta"] for name, event in events if name and name.endswith(".delta"))
        item = body["output"][0]
        assert deltas == (item["arguments"] if "arguments" in item else item["content"][0]["text"])
        assert events[-2][1]["item"] == item
        return self.reply(body)


class Messages:
    def path(self, stream: bool) -> str:
        return "/v1/messages"

    def body(self, history: Sequence[Any], stream: bool, tools: bool = True) -> dict[str, Any]:
        offered = [{"name": "bash", "description": "", "input_schema": SCHEMA}]
        return {"model": "m", "max_tokens": 9, "messages": [*history], "stream": stream, "tools": offered * tools}

    def user(self, text: str) -> dict[str, Any]:
        return {"role": "user", "content": text}

    def result(self, call_id: str, text: str) -> dict[str, Any]:
        block = {"type": "tool_result", "tool_use_id": call_id, "content": [{"type": "text", "text": text}]}
        return {"role": "user", "content": [block, {"type": "text", "text": "a reminder"}]}

    def reply(self, body: Mapping[str, Any]) -> Reply:
        assert (body["type"], body["role"]) == ("message", "assistant")
        tokens = body["usage"]["input_tokens"], body["usage"]["output_tokens"]
        (block,) = body["content"]
        items = [{"role": "assistant", "content": body["content"]}]
        if block["type"] == "text":
            assert body["stop_reason"] == "end_turn"
            return Reply(block["text"], None, None, items, tokens)
        assert (body["stop_reason"], block["name"]) == ("tool_use", "bash")
        return Reply(None, block["input"]["command"], block["id"], items, tokens)

    def streamed(self, text: str) -> Reply:
        events = events_of(text)
        assert [event["type"] for _, event in events] == [name for name, _ in events]
        assert list(dict.fromkeys(name for name, _ in events)) == [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        message, block = events[0][1]["message"], events[1][1]["content_block"]
        deltas = [event["delta"] for name, event in events if name == "content_block_delta"]
        if block["type"] == "text":
            block["text"] += "".join(delta["text"] for delta in deltas)
        else:
            block["input"] = json.loads("".join(delta["partial_json"] for delta in deltas))
        end = events[-2][1]
        usage = {**message["usage"], **end["usage"]}
        return self.reply({**message, **end["delta"], "content": [block], "usage": usage})


class Gemini:
    def path(self, stream: bool) -> str:
        return f"/v1beta/models/m:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"

    def body(self, history: Sequence[Any], stream: bool, tools: bool = True) -> dict[str, Any]:
        offered = [{"functionDeclarations": [{"name": "bash", "description": "", "parametersJsonSchema": SCHEMA}]}]
        return {
            "contents": [*history],
            "systemInstruction": {"parts": [{"text": "Be good."}]},
            "tools": offered * tools,
        }

    def user(self, text: str) -> dict[str, Any]:
        return {"role": "user", "parts": [{"text": text}]}

    def result(self, call_id: str, text: str) -> dict[str, Any]:
        return {
            "role": "user",
            "parts": [{"functionResponse": {"id": call_id, "name": "bash", "response": {"output": text}}}],
        }

    def reply(self, body: Mapping[str, Any]) -> Reply:
        assert body["modelVersion"] == "m"
        usage = body["usageMetadata"]
        tokens = usage["promptTokenCount"], usage["candidatesTokenCount"]
        assert usage["totalTokenCount"] == sum(tokens)
        (candidate,) = body["candidates"]
        content = candidate["content"]
        assert (candidate["finishReason"], content["role"]) == ("STOP", "model")
        (part,) = content["parts"]
        if "text" in part:
            return Reply(part["text"], None, None, [content], tokens)
        call = part["functionCall"]
        assert call["name"] == "bash"
        return Reply(None, call["args"]["command"], call["id"], [content], tokens)

    def streamed(self, text: str) -> Reply:
        chunks = [chunk for _, chunk in events_of(text)]
        assert not any("usageMetadata" in chunk for chunk in chunks[:-1])
        assert not any("finishReason" in chunk["candidates"][0] for chunk in chunks[:-1])
        parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
        calls = [part for part in parts if "functionCall" in part]
        whole = calls or [{"text": "".join(part["text"] for part in parts)}]
        last = chunks[-1]["candidates"][0]
        return self.reply({**chunks[-1], "candidates": [{**last, "content": {"role": "model", "parts": whole}}]})


Api = Chat | Responses | Messages | Gemini


@pytest.fixture(params=[Chat, Responses, Messages, Gemini], ids=["chat", "responses", "messages", "gemini"])
def api(request: pytest.FixtureRequest) -> Api:
    made: Api = request.param()
    return made


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def ask(client: httpx.Client, api: Api, history: Sequence[Any], stream: bool, tools: bool = True) -> Reply:
    raw = json.dumps(api.body(history, stream, tools)).encode()
    response = client.post(api.path(stream), content=raw, headers={"content-type": "application/json"})
    response.raise_for_status()
    expected = "text/event-stream" if stream else "application/json"
    assert response.headers["content-type"].startswith(expected)
    reply = api.streamed(response.text) if stream else api.reply(response.json())
    assert reply.usage[0] == math.ceil(len(raw) / 4)
    return reply


def test_a_reference_is_acted_out_paragraph_by_paragraph_then_answered(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task], api: Api, stream: bool
) -> None:
    scripted.learn(make_task(PROMPT, references=("echo hello > hello.txt\n\ncat hello.txt\nls 'é \"'",)))
    history: list[Any] = [api.user(f"# context\n{PROMPT}\n")]
    commands, ids = [], []

    while (reply := ask(client, api, history, stream)).command is not None:
        assert reply.call_id is not None
        commands.append(reply.command)
        ids.append(reply.call_id)
        history += [*reply.items, api.result(reply.call_id, "ok")]

    assert commands == ["echo hello > hello.txt", "cat hello.txt\nls 'é \"'"]
    assert len(set(ids)) == 2
    assert reply.text == f"Done, steps run: 2. {PROMPT}"
    assert reply.usage[1] == math.ceil(len(reply.text) / 4)
    follow_up = ask(client, api, [*history, *reply.items, api.user("continue")], stream)
    assert follow_up.text == reply.text


def test_the_same_request_gets_the_same_bytes(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task], api: Api, stream: bool
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))
    body = api.body([api.user(PROMPT)], stream)

    assert client.post(api.path(stream), json=body).content == client.post(api.path(stream), json=body).content


def test_each_prompt_of_a_task_has_its_own_reference(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task], api: Api
) -> None:
    scripted.learn(make_task("First thing", "Second thing", references=("echo 1", "echo 2")))
    first = ask(client, api, [api.user("First thing")], stream=False)
    assert first.call_id is not None

    history = [api.user("First thing"), *first.items, api.result(first.call_id, "1"), api.user("Second thing")]

    assert ask(client, api, history, stream=False).command == "echo 2"


def test_a_request_without_tools_gets_a_short_title(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task], api: Api, stream: bool
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))

    reply = ask(client, api, [api.user("Generate a title for this:"), api.user(PROMPT)], stream, tools=False)

    assert reply.text == PROMPT


def test_an_unknown_prompt_is_told_that_there_is_no_reference(client: httpx.Client, api: Api, stream: bool) -> None:
    reply = ask(client, api, [api.user("Something else")], stream)

    assert reply.text == "There is no reference for this prompt: Something else"


@pytest.mark.parametrize(("model", "acts"), [("nop", False), ("provider/nop", False), ("oracle", True), ("m", True)])
def test_whoever_asks_for_nop_does_nothing_and_the_others_act(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task], model: str, acts: bool
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))
    body = {**Chat().body([Chat().user(PROMPT)], stream=False), "model": model}

    reply = Chat().reply(client.post(Chat().path(False), json=body).json())

    assert (reply.command == "ls") is acts


def test_a_task_is_known_until_it_is_forgotten_as_often_as_learned(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task]
) -> None:
    task, api = make_task(PROMPT, references=("ls",)), Chat()
    scripted.learn(task)
    scripted.learn(task)

    scripted.forget(task)
    assert ask(client, api, [api.user(PROMPT)], stream=False).command == "ls"
    scripted.forget(task)
    assert ask(client, api, [api.user(PROMPT)], stream=False).command is None
    with pytest.raises(ValueError):
        scripted.forget(task)


def test_streamed_chat_sends_usage_only_when_asked(client: httpx.Client) -> None:
    response = client.post("/v1/chat/completions", json={"messages": [], "stream": True})

    chunks = [chunk for _, chunk in events_of(response.text)]
    assert all("usage" not in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ({"type": "local_shell"}, {"type": "local_shell_call", "command": ["bash", "-lc", "ls"]}),
        ({"type": "shell"}, {"type": "shell_call", "commands": ["ls"]}),
        ({"type": "custom", "name": "bash", "description": "A shell"}, {"type": "custom_tool_call", "input": "ls"}),
    ],
    ids=["local_shell", "shell", "custom"],
)
def test_tools_of_the_responses_api_without_a_schema_are_called(
    client: httpx.Client,
    scripted: ScriptedModel,
    make_task: Callable[..., Task],
    stream: bool,
    tool: Mapping[str, Any],
    expected: Mapping[str, Any],
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))
    body = {"input": PROMPT, "tools": [tool], "stream": stream}

    response = client.post("/responses", json=body)
    answer = events_of(response.text)[-1][1]["response"] if stream else response.json()
    (item,) = answer["output"]
    assert expected.items() <= {**item, **item.get("action", {}), "type": item["type"]}.items()

    result = {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "f"}
    after = client.post("/responses", json={**body, "stream": False, "input": [*_user(PROMPT), item, result]}).json()
    assert after["output"][0]["type"] == "message"


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_the_bash_tool_that_anthropic_defines_is_called(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task]
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))
    tools = [{"type": "bash_20250124", "name": "bash"}]

    message = client.post("/messages", json={"messages": _user(PROMPT), "tools": tools}).json()

    assert message["content"][0]["input"] == {"command": "ls"}


@pytest.mark.parametrize(
    ("api", "choice"),
    [
        (Chat(), {"tool_choice": "none"}),
        (Messages(), {"tool_choice": {"type": "none"}}),
        (Gemini(), {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}),
    ],
    ids=["chat", "messages", "gemini"],
)
def test_a_tool_is_not_called_when_the_request_forbids_it(
    client: httpx.Client,
    scripted: ScriptedModel,
    make_task: Callable[..., Task],
    api: Chat | Messages | Gemini,
    choice: Mapping[str, Any],
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))
    body = {**api.body([api.user(PROMPT)], stream=False), **choice}

    assert api.reply(client.post(api.path(False), json=body).json()).command is None


def test_types_of_geminis_own_schemas_are_understood(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task]
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))
    api = Gemini()
    properties = {"command": {"type": "STRING"}, "type": {"type": "STRING"}, "seconds": {"type": "INTEGER"}}
    schema = {"type": "OBJECT", "properties": properties, "required": ["command", "seconds"]}
    declared = {"name": "bash", "description": "", "parameters": schema}
    body = {**api.body([api.user(PROMPT)], stream=False), "tools": [{"functionDeclarations": [declared]}]}

    answer = client.post(api.path(False), json=body).json()

    assert answer["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"command": "ls", "seconds": 0}


def test_a_gemini_stream_without_sse_is_a_json_array(client: httpx.Client) -> None:
    api = Gemini()

    answers = client.post("/v1beta/models/m:streamGenerateContent", json=api.body([api.user("hi")], True)).json()

    assert api.reply(answers[0]).text == "There is no reference for this prompt: hi"


def test_an_agent_that_ends_by_a_command_is_ended_by_it(
    client: httpx.Client, scripted: ScriptedModel, make_task: Callable[..., Task]
) -> None:
    scripted.learn(make_task(PROMPT, references=("ls",)))
    api = Chat()
    history: list[Any] = [api.user(f"{PROMPT}. When done: `echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT`")]
    outputs = []

    for _ in range(2):
        reply = ask(client, api, history, stream=False)
        assert reply.command is not None
        assert reply.call_id is not None
        done = subprocess.run(["sh", "-c", reply.command], capture_output=True, text=True, check=True)
        outputs.append(done.stdout.splitlines())
        history += [*reply.items, api.result(reply.call_id, done.stdout)]

    assert outputs[1] == ["COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", f"Done, steps run: 1. {PROMPT}"]
    assert ask(client, api, history, stream=False).text == f"Done, steps run: 1. {PROMPT}"


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_the_model_is_listed(client: httpx.Client, prefix: str) -> None:
    listing = client.get(f"{prefix}/models").json()

    assert [model["id"] for model in listing["data"]] == ["scripted-1"]


def test_tokens_are_counted_from_the_body(client: httpx.Client) -> None:
    raw = b'{"messages": [{"role": "user", "content": "hi"}]}'

    counted = client.post("/v1/messages/count_tokens", content=raw).json()
    assert counted == {"input_tokens": math.ceil(len(raw) / 4)}

    counted = client.post("/v1beta/models/m:countTokens", content=raw).json()
    assert counted == {"totalTokens": math.ceil(len(raw) / 4)}


@pytest.mark.parametrize(
    "raw",
    [b"{", b"[]", b"\xff", b'{"messages": {}, "input": 3, "contents": 1}', b"[" * 100_000],
    ids=lambda raw: repr(raw[:9]),
)
def test_a_body_that_cannot_be_read_is_refused_in_the_shape_of_its_api(
    client: httpx.Client, api: Api, raw: bytes
) -> None:
    response = client.post(api.path(False), content=raw)

    assert response.status_code == 400
    body = response.json()
    if isinstance(api, Gemini):
        assert (body["error"]["code"], body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    else:
        assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["message"]
    assert body.get("type") == ("error" if isinstance(api, Messages) else None)


def test_a_response_that_continues_another_is_refused(client: httpx.Client) -> None:
    response = client.post("/v1/responses", json={"input": "hi", "previous_response_id": "resp_1"})

    assert response.status_code == 400
    assert "send the whole conversation" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/nothing", 404), ("GET", "/v1/messages", 405), ("POST", "/v1beta/models/m:embed", 404)],
)
def test_what_is_not_served_gets_a_json_error(client: httpx.Client, method: str, path: str, status: int) -> None:
    response = client.request(method, path)

    assert response.status_code == status
    assert path in response.json()["error"]["message"]


def test_a_closed_server_answers_no_more() -> None:
    with ScriptedModel.start() as model:
        assert httpx.get(f"{model.url}/v1/models").status_code == 200
    model.close()

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{model.url}/v1/models")
