from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from pytest_agentcap.agents.headless import read_headless, unread_keys
from pytest_agentcap.agents.headless_driver import with_history
from pytest_agentcap.agents.headless_output import read_output
from pytest_agentcap.agents.headless_schema import HeadlessSchema, HistoryTemplate
from pytest_agentcap.agents.jsonpath import select
from pytest_agentcap.agents.spec import AgentError

PROGRAM = Path(__file__).with_name("adapters") / "headless_program.py"
EVENTS = [
    {
        "match": {"path": "$.type", "value": "assistant"},
        "emitAs": "message",
        "extract": {"content": "$.message.content[0].text"},
    },
    {
        "match": {"path": "$.type", "value": "tool_use"},
        "emitAs": "tool_call",
        "extract": {"title": "$.name", "status": "$.status"},
    },
    {
        "match": {"path": "$.type", "value": "tool_result"},
        "emitAs": "tool_call",
        "extract": {"title": "$.name", "status": "'completed'"},
    },
]
SCHEMA = {
    "version": 1,
    "name": "Own Agent",
    "command": [sys.executable, "headless_program.py"],
    "sessionMode": "stream",
    "prompt": {"flag": "-p"},
    "output": {"flag": "--format", "value": "stream-json"},
    "autoApprove": ["--yes"],
    "cwdFlag": "--cwd",
    "resume": {"flag": "--resume", "sessionIdPath": "$.meta.session.id"},
    "outputEvents": EVENTS,
    "result": {"matchPath": "$.type", "matchValue": "result", "contentPath": "$.result"},
}


def write_schema(project, **changes) -> Path:
    shutil.copy(PROGRAM, project.path / PROGRAM.name)
    return project.write("own.json", json.dumps({**SCHEMA, **changes}))


def run(project, *prompts: str, **changes) -> tuple[dict, list[dict]]:
    """Run one session of these turns; return its result, and how the program was called in each."""
    write_schema(project, **changes)
    project.write_jsonl({"id": "a", "input": list(prompts)})
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(autouse=True)
        def kept(agent_session):
            yield
            open("calls.jsonl", "w").write((agent_session.workspace / "calls.jsonl").read_text())
        """,
    )
    project.pytest("--agent", "./own.json", "--sandbox", "host").assert_outcomes(passed=1)
    [result] = project.results()
    return result, [json.loads(line) for line in (project.path / "calls.jsonl").read_text().splitlines()]


def test_a_schema_runs_as_an_agent_and_its_session_is_resumed_by_the_id_at_its_path(project):
    result, calls = run(project, "first", "second")
    assert result["nodeid"] == "prompts.jsonl::test_task[own-scripted-a]"
    assert (result["agent"], result["verdict"], result["calls"]) == ("Own Agent", "captured", 2)
    assert result["agent_version"].startswith("schema-")
    assert [turn["reply"] for turn in result["turns"]] == ["answered 'first'", "answered 'second'"]
    fixed = ["--format", "stream-json", "--yes", "--cwd"]
    assert [call["arguments"][:4] for call in calls] == [fixed, fixed]
    assert calls[0]["arguments"][5:] == ["-p", "first"]
    assert calls[1]["arguments"][5] == "--resume"
    assert calls[1]["arguments"][6].startswith("session-")
    assert calls[1]["arguments"][7:] == ["-p", "second"]
    [folder] = project.runs()
    lines = (folder / "sessions/a_turn_01.steps.jsonl").read_text().splitlines()
    call, message = (json.loads(line) for line in lines)
    assert call.pop("duration_ms") >= 0
    assert (call.pop("at_ms") >= 0, message.pop("at_ms") >= 0) == (True, True)
    assert call == {"type": "tool_call", "name": "Model", "status": "completed"}
    assert message == {"type": "message", "content": "thinking"}


def test_a_program_without_sessions_is_told_its_history_again(project):
    template = {"system": "Be brief.", "turnFormat": "<{{input}}|{{output}}>"}
    _, calls = run(project, "a $& b", "{{output}}", sessionMode="iterative", historyTemplate=template)
    assert [call["prompt"] for call in calls] == [
        "Be brief.\n\na $& b",
        "Be brief.\n\n<a $& b|answered 'Be brief.\\n\\na $& b'>\n\nUser: {{output}}",
    ]


def test_a_prompt_goes_to_standard_input_as_text_or_as_a_message(project):
    _, calls = run(project, "--first", command=[*SCHEMA["command"], "-"], prompt={"stdin": True})
    assert calls[0]["prompt"] == "--first\n"
    assert "--first" not in calls[0]["arguments"]


def test_standard_input_as_json_is_one_message(project):
    way = {"stdin": True, "stdinFormat": "json"}
    _, calls = run(project, "first", command=[*SCHEMA["command"], "-"], prompt=way)
    content = [{"type": "text", "text": "first"}]
    assert json.loads(calls[0]["prompt"]) == {"type": "user", "message": {"role": "user", "content": content}}


def test_a_stream_that_cannot_be_resumed_has_one_turn(project):
    schema = {key: value for key, value in SCHEMA.items() if key != "resume"}
    shutil.copy(PROGRAM, project.path / PROGRAM.name)
    project.write("own.json", json.dumps(schema))
    project.write_jsonl({"id": "a", "input": ["first", "second"]})
    project.pytest("--agent", "./own.json", "--sandbox", "host").assert_outcomes(failed=1)
    assert project.results()[0]["abort_reason"] == "resume-not-supported"


def test_a_schema_gives_its_own_deadline(project):
    command = ["sh", "-c", "sleep 600", "--"]
    write_schema(project, command=command, timeout=800)
    project.write_jsonl({"id": "a", "input": "first"})
    done = project.pytest("--agent", "own.json", "--sandbox", "host")
    done.stdout.fnmatch_lines(["agent_timeout: turn 1 was ended after * s"])


def test_in_a_container_a_schema_needs_a_containerfile_beside_it(project):
    write_schema(project)
    project.write_tasks("hello")
    done = project.pytest("--agent", "./own.json")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*--agent: ./own.json: there is no Containerfile beside it: *or pass --sandbox host"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "Invalid enum value 2 - at `$.version`"),
        ({"name": None}, "Expected `str`, got `null` - at `$.name`"),
        ({"command": []}, "command: empty"),
        ({"sessionMode": "both"}, "Invalid enum value 'both' - at `$.sessionMode`"),
        ({"prompt": {"flag": "-p", "stdin": True}}, "prompt: flag and stdin exclude each other"),
        ({"output": {"flag": "-o"}}, "Object missing required field `value` - at `$.output`"),
        ({"outputMode": "passthrough"}, "passthroughTypeMap: needed"),
        ({"outputEvents": [{**EVENTS[0], "emitAs": "x"}]}, "Invalid enum value 'x' - at `$.outputEvents[0].emitAs`"),
        ({"result": {**SCHEMA["result"], "matchPath": "type"}}, "result.matchPath: 'type' is no path"),
        ({"timeout": 0}, "timeout: 0 is not a number of milliseconds above 0"),
        ({"autoApprove": ["{{nothing}}"]}, "autoApprove: unknown placeholder {{nothing}}"),
        ({"command": ["a\0"]}, "command: 'a\\x00' holds a NUL character"),
    ],
)
def test_an_error_names_file_and_key(tmp_path, changes, said):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({**SCHEMA, **changes}))
    with pytest.raises(AgentError) as error:
        read_headless(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "version": 1,\n  "name"', "own.json:3: not valid JSON (Expecting ':' delimiter at column 9)"),
        ('{"version": 1, "version": 1}', 'own.json: the key "version" stands twice in one object'),
        ("[]", "own.json: Expected `object`, got `array`"),
        ("\ufeff{}", "own.json: "),
    ],
)
def test_a_file_that_is_no_schema_is_told_with_its_line(tmp_path, text, said):
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(AgentError) as error:
        read_headless(path)
    assert said in str(error.value)


def test_keys_that_nobody_reads_are_told_and_do_no_harm(tmp_path):
    path = tmp_path / "own.json"
    assistant = {"path": "$.type", "value": "message", "role": "assistant"}
    events = [EVENTS[0], {**EVENTS[0], "match": assistant, "extract": {"content": "$.text", "toolName": "$.name"}}]
    path.write_text(json.dumps({**SCHEMA, "$schema": "s.json", "outputEvents": events, "comment": "ours"}))
    assert read_headless(path).name == "Own Agent"
    assert unread_keys(path) == (
        f"{path}: keys that nobody reads: outputEvents[1].match.role, outputEvents[1].extract.toolName, comment"
    )
    path.write_text(json.dumps(SCHEMA))
    assert unread_keys(path) is None


def schema_of(**changes) -> HeadlessSchema:
    return msgspec.convert({**SCHEMA, **changes}, HeadlessSchema)


def lines_of(*events: object) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_items_of_a_list_are_steps_of_their_own():
    mappings = [
        {
            "match": {"path": "$.message.content[*]", "value": kind},
            "emitAs": emitted,
            "extract": extract,
        }
        for kind, emitted, extract in (
            ("tool_use", "tool_call", {"title": "$.name", "status": "'pending'", "input": "$.input"}),
            ("text", "message", {"content": "$.text"}),
        )
    ]
    content = [
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "name": "Read", "input": {"path": "a"}},
        {"type": "other"},
    ]
    told = read_output(
        schema_of(outputEvents=mappings), lines_of({"type": "assistant", "message": {"content": content}})
    )
    assert [(step.type, step.content, step.name, step.input) for step in told.steps] == [
        ("message", "I look", None, None),
        ("tool_call", None, "Read", {"path": "a"}),
    ]
    assert told.reply == "I look"


def test_calls_of_one_tool_are_steps_of_their_own_and_each_end_finds_its_beginning():
    begin, end = {"type": "tool_use", "name": "Read"}, {"type": "tool_result", "name": "Read"}
    told = read_output(schema_of(), lines_of(begin, end, begin, begin, end), [1.0, 3.0, 4.0, 5.0, 9.0])
    assert [(step.status, step.at_ms, step.duration_ms) for step in told.steps] == [
        ("completed", 1.0, 2.0),
        ("completed", 4.0, 5.0),
        ("pending", 5.0, None),
    ]


def test_notices_between_events_and_a_last_line_without_its_end_do_no_harm():
    output = 'a notice\n42\n[1]\n{"type": "assist\n' + lines_of({"type": "result", "result": {"a": 1}}).rstrip("\n")
    assert read_output(schema_of(), output).reply == '{"a": 1}'


def test_events_of_an_agent_that_are_steps_already_are_passed_through():
    types = {"typeField": "kind", "typeValues": {"say": "message", "use": "tool_call"}}
    schema = schema_of(outputMode="passthrough", passthroughTypeMap=types)
    events = lines_of({"kind": "say", "content": "hm"}, {"kind": "use", "name": "N", "title": "T"}, {"kind": "plan"})
    assert [(step.type, step.content or step.name) for step in read_output(schema, events).steps] == [
        ("message", "hm"),
        ("tool_call", "N"),
        ("plan", None),
    ]
    native = schema_of(outputMode="passthrough", passthroughTypeMap={})
    assert [step.type for step in read_output(native, lines_of({"type": "plan"}, {"type": "say"})).steps] == ["plan"]


def test_an_event_that_is_the_result_may_be_a_step_too():
    any_type = {"matchPath": "$.type", "matchValue": "*", "contentPath": "$.nothing"}
    said = {"type": "assistant", "message": {"content": [{"text": "hi"}]}}
    told = read_output(schema_of(result=any_type), lines_of(said, {"type": "tool_use", "name": "Read"}))
    assert ([step.content for step in told.steps], told.reply) == (["hi"], "hi")


def test_an_output_that_is_text_is_the_reply():
    answer = read_output(schema_of(outputMode="text"), '{"type": "result"}\nand more\n', [1.0, 2.5])
    assert answer.reply == '{"type": "result"}\nand more'
    assert [(step.type, step.content, step.at_ms) for step in answer.steps] == [("message", answer.reply, 2.5)]
    assert read_output(schema_of(outputMode="text"), "\n").steps == ()


def test_an_id_of_the_session_is_found_where_the_original_looked_for_it_too():
    assert read_output(schema_of(), lines_of({"session_id": "s1"})).session_id == "s1"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("'literal'", "literal"),
        ("$.a.b", 1),
        ("$.list[1].c", 2),
        ("$.list[0]", {"c": 0}),
        ("$.list[*].c", [{"c": 0}, {"c": 2}]),
        ("$.list[-1]", None),
        ("$.list[?(@.c)]", None),
        ("$.list[0][1]", None),
        ("$", None),
        ("a.b", None),
        ("$.nothing.b", None),
        ("$.a[0]", None),
    ],
)
def test_paths_select_as_the_dialect_says(path, found):
    assert select({"a": {"b": 1}, "list": [{"c": 0}, {"c": 2}]}, path) == found


def test_the_default_history_is_that_of_a_chat():
    history = [("hi", "hello")]
    assert with_history(schema_of().history_template, history, "go") == "User: hi\nAssistant: hello\n\nUser: go"
    assert with_history(HistoryTemplate("{{output}}", "S"), [], "go") == "S\n\ngo"
