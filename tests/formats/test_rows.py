"""The formats for trainers and viewers, on sessions told call by call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_agentcap.conversation.session import Conversation, read_conversation
from pytest_agentcap.formats import agentcap, atif, dpo, otlp, sft, sts
from pytest_agentcap.formats.lines import json_line, write_lines


def milk(new_session, name: str = "buy", last: str = "done", **facts: Any) -> Conversation:
    """Make a session: a tool call with its result, thinking, and an answer."""
    session = new_session(name, **facts)
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says("let me see", ("c1", {"command": "ls"}), thinking="hm")
    session.call(messages, asks)
    asked = session.says("let me see", ("c1", {"command": "ls"}))
    session.call([*messages, asked, session.result("c1", "a b")], session.says(last))
    return read_conversation(session.records)


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def test_sft_rows_hold_a_whole_conversation_and_its_tools(new_session):
    (row,) = sft.rows(milk(new_session))
    call = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": {"command": "ls"}}}
    assert row["messages"] == [
        {"role": "system", "content": "you are an agent"},
        {"role": "user", "content": "buy milk"},
        {"role": "assistant", "content": "let me see", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "content": "a b", "tool_call_id": "c1"},
        {"role": "assistant", "content": "done"},
    ]
    schema = {"name": "bash", "description": "run", "parameters": {"type": "object"}}
    assert row["tools"] == [{"type": "function", "function": schema}]
    told = ("run_id", "task_id", "verdict", "model", "thread_kind", "finish_reason", "completion_tokens")
    assert [row[name] for name in told] == ["run", "buy", "passed", "org/m", "main", "stop", 2]


def test_sft_rows_end_with_the_model_and_leave_out_what_it_never_said(new_session):
    session = new_session()
    session.call([session.SYSTEM, session.user("buy milk")], None)
    assert list(sft.rows(read_conversation(session.records))) == []
    said = [session.SYSTEM, session.user("x"), session.says("y"), session.user("z")]
    session.call(said, None)
    (row,) = sft.rows(read_conversation(session.records))
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]


def test_images_and_free_text_calls_survive(new_session):
    session = new_session()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    look = {"role": "user", "content": [{"type": "text", "text": "look"}, image]}
    odd = session.says(None, ("c1", {}))
    odd["tool_calls"][0]["function"]["arguments"] = "{broken"
    session.call([look], odd)
    conversation = read_conversation(session.records)
    (row,) = sft.rows(conversation)
    assert row["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image", "url": "data:image/png;base64,iVBO"},
    ]
    assert row["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{broken"
    _, asked, said = sts.trace(conversation, conversation.threads[0])
    assert (asked["message"]["content"], len(asked["message"]["images"])) == ("look\n[image]", 1)
    assert said["message"]["toolCalls"][0]["function"]["arguments"] == "{broken"
    step = atif.trajectory(conversation)["steps"][0]
    assert step["message"][1]["source"] == {"media_type": "image/png", "path": "data:image/png;base64,iVBO"}
    span = otlp.export_request(conversation)["resourceSpans"][0]["scopeSpans"][0]["spans"][1]
    told = json.loads(attributes(span)["gen_ai.input.messages"])
    assert told[0]["parts"][1] == {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBO"}


def test_dpo_pairs_passed_and_failed_trials_in_their_order(new_session):
    trials = [
        milk(new_session, f"buy-t{n}", f"end {n}", trial=n, verdict=verdict)
        for n, verdict in enumerate(["failed", "passed", "agent_timeout", "failed", "passed", "failed"], 1)
    ]
    rows = list(dpo.rows(trials))
    assert [(row["chosen_session"], row["rejected_session"]) for row in rows] == [
        ("buy-t2", "buy-t1"),
        ("buy-t5", "buy-t4"),
    ]
    row = rows[0]
    assert [message["role"] for message in row["prompt"]] == ["system", "user", "assistant", "tool"]
    assert (row["chosen"], row["rejected"]) == (
        [{"role": "assistant", "content": "end 2"}],
        [{"role": "assistant", "content": "end 1"}],
    )
    assert (row["tools"][0]["function"]["name"], row["task_id"]) == ("bash", "buy")


def test_dpo_takes_the_highest_attempt_of_a_trial(new_session):
    first = milk(new_session, "buy", "end 1", trial=1, verdict="failed")
    again = milk(new_session, "buy-a2", "end 2", trial=1, attempt=2, verdict="passed")
    other = milk(new_session, "buy-t2", "end 3", trial=2, verdict="failed")
    (row,) = dpo.rows([first, again, other])
    assert (row["chosen_session"], row["rejected_session"]) == ("buy-a2", "buy-t2")


def test_dpo_prompts_differ_in_the_system_prompt_at_most(new_session):
    def answered(name: str, system: str, prompt: str, text: str, verdict: str) -> Conversation:
        session = new_session(name, verdict=verdict, trial=len(name))
        session.call([{"role": "system", "content": system}, session.user(prompt)], session.says(text))
        return read_conversation(session.records)

    passed = answered("a", "cwd /tmp/1", "buy milk", "yes", "passed")
    (row,) = dpo.rows([passed, answered("bb", "cwd /tmp/2", "buy milk", "no", "failed")])
    assert row["prompt"][0]["content"] == "cwd /tmp/1"
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("yes", "no")
    assert list(dpo.rows([passed, answered("bb", "cwd /tmp/1", "buy beer", "no", "failed")])) == []
    assert list(dpo.rows([passed, answered("bb", "cwd /tmp/1", "buy milk", "yes", "failed")])) == []


def test_sts_traces_have_a_header_and_a_line_for_each_message(new_session):
    conversation = milk(new_session)
    header, *lines = sts.trace(conversation, conversation.threads[0])
    assert [header[name] for name in ("type", "harness", "id", "name")] == ["session", "pi", "run/buy/0", "buy milk"]
    assert {line["type"] for line in lines} == {"message"}
    assert [line["message"] for line in lines] == [
        {"role": "system", "content": "you are an agent", "timestamp": 1000},
        {"role": "user", "content": "buy milk", "timestamp": 1000},
        {
            "role": "assistant",
            "content": "let me see",
            "reasoningContent": "hm",
            "toolCalls": [{"id": "c1", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}],
            "timestamp": 1500,
            "model": "org/m",
        },
        {"role": "tool", "content": "a b", "toolCallId": "c1", "timestamp": 2000},
        {"role": "assistant", "content": "done", "timestamp": 2500, "model": "org/m"},
    ]


def test_atif_trajectories_are_valid_and_tell_each_step(new_session):
    from atif import Trajectory

    document = atif.trajectory(milk(new_session))
    Trajectory.model_validate(document)
    assert [step["source"] for step in document["steps"]] == ["system", "user", "agent", "agent"]
    step = document["steps"][2]
    assert step["timestamp"] == "1970-01-01T00:00:01.500000+00:00"
    assert step["tool_calls"] == [{"tool_call_id": "c1", "function_name": "bash", "arguments": {"command": "ls"}}]
    assert step["observation"] == {"results": [{"source_call_id": "c1", "content": "a b"}]}
    assert (step["reasoning_content"], step["metrics"]) == ("hm", {"prompt_tokens": 10, "completion_tokens": 1})
    assert document["agent"]["tool_definitions"][0]["function"]["name"] == "bash"
    assert document["final_metrics"]["total_completion_tokens"] == 3


def test_atif_embeds_the_other_threads_and_tells_failed_calls(new_session):
    from atif import Trajectory

    session = new_session()
    messages = [session.SYSTEM, session.user("buy milk")]
    session.call([session.user("a title for: buy milk")], session.says("Milk"), tools=None)
    session.call(messages, None)
    asks = session.says(None, ("c1", {"prompt": "find the nearest shop"}))
    session.call(messages, asks)
    session.call([session.SYSTEM, session.user("find the nearest shop")], session.says("it"))
    session.call([*messages, asks, session.result("nobody", "?")], session.says("ok"))
    document = atif.trajectory(read_conversation(session.records))
    Trajectory.model_validate(document)
    kinds = [embedded["extra"]["thread_kind"] for embedded in document["subagent_trajectories"]]
    assert (document["extra"]["thread_kind"], kinds) == ("main", ["side", "subagent"])
    assert document["extra"]["failed_calls"][0]["status_code"] == 503
    assert "source_call_id" not in document["steps"][3]["observation"]["results"][0]


def test_otlp_spans_nest_and_say_what_is_inferred(new_session):
    (resource,) = otlp.export_request(milk(new_session))["resourceSpans"]
    spans = resource["scopeSpans"][0]["spans"]
    assert [span["name"] for span in spans] == ["invoke_agent pi", "chat org/m", "chat org/m", "execute_tool bash"]
    root, first, _, tool = spans
    assert {len(span["traceId"]) for span in spans} == {32}
    assert {len(span["spanId"]) for span in spans} == {16}
    assert (first["parentSpanId"], tool["parentSpanId"]) == (root["spanId"], first["spanId"])
    assert (root["startTimeUnixNano"], root["endTimeUnixNano"]) == ("1000000000", "2500000000")
    assert (tool["startTimeUnixNano"], tool["endTimeUnixNano"]) == ("1500000000", "2000000000")
    told = attributes(first)
    assert told["gen_ai.response.finish_reasons"] == {"values": [{"stringValue": "tool_calls"}]}
    assert (told["gen_ai.usage.input_tokens"], told["server.address"], told["server.port"]) == ("10", "host", "443")
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "you are an agent"}]
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "buy milk"}]}
    ]
    (said,) = json.loads(told["gen_ai.output.messages"])
    assert [part["type"] for part in said["parts"]] == ["reasoning", "text", "tool_call"]
    assert said["finish_reason"] == "tool_call"
    assert attributes(tool)["agentcap.inferred"] is True


def test_otlp_tells_failed_calls_as_errors(new_session):
    session = new_session()
    session.call([session.user("buy milk")], None)
    spans = otlp.export_request(read_conversation(session.records))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert spans[1]["status"] == {"code": 2, "message": "overloaded"}
    assert attributes(spans[1])["error.type"] == "503"
    assert "gen_ai.output.messages" not in attributes(spans[1])


def test_agentcaps_files_hold_the_bodies_as_they_are(new_session):
    conversation = milk(new_session)
    files = {line.file: json.loads(line.data) for line in agentcap.lines([conversation])}
    rid = conversation.calls[0].rid
    request, response = (files[f"run/captures/{rid}.{half}.json"] for half in ("request", "response"))
    assert list(request) == ["request_id", "captured_at", "upstream_url", "task_id", "turn", "body"]
    assert request["body"]["messages"][1] == {"role": "user", "content": "buy milk"}
    names = ["request_id", "captured_at_resp", "stream", "status_code", "upstream_fingerprint", "body"]
    assert list(response) == names
    assert (response["status_code"], response["stream"]) == (200, False)
    manifest = files["run/run.json"]
    assert (manifest["agent"], manifest["tasks"][0]["task_id"], manifest["tasks"][0]["completed_turns"]) == (
        "pi",
        "buy",
        1,
    )


def test_files_are_whole_or_not_there(tmp_path):
    def lines():
        yield json_line("a.jsonl", {"half": "\ud83d"})
        yield json_line("b.jsonl", {})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(tmp_path, lines())
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert json.loads((tmp_path / "a.jsonl").read_bytes()) == {"half": "\ud83d"}


def test_a_session_that_two_sources_hold_is_one_error(tmp_path):
    lines = [json_line(name, {}) for name in ("a.jsonl", "b.jsonl", "a.jsonl")]
    with pytest.raises(ValueError, match=r"a\.jsonl would be written twice"):
        write_lines(tmp_path, lines)
