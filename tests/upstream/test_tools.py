from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pytest_agentcap.upstream.exchange import Tool
from pytest_agentcap.upstream.tools import choose_shell_tool, fill_arguments

STRING = {"type": "string"}


def tool(name: str, properties: Mapping[str, Any], description: str = "", required: Sequence[str] = ()) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name, description=description, schema=schema)


@pytest.mark.parametrize(
    "name", ["bash", "Bash", "shell", "exec_command", "run_shell_command", "terminal", "execute-command", "runCommand"]
)
def test_a_shell_is_known_by_its_name(name: str) -> None:
    tools = [
        tool("read", {"path": STRING}),
        tool("helper", {"command": STRING}, "Stops a shell command"),
        tool(name, {"cmd": STRING}),
    ]

    assert choose_shell_tool(tools) == tools[2]


@pytest.mark.parametrize(
    ("name", "description", "key"),
    [
        ("workspace_run", "Runs a command in a terminal.", "command"),
        ("sandbox", "Executes Bash.", "script"),
        ("mcp__host__shell", "", "cmd"),
        ("run", "Run shell code.", "code"),
    ],
)
def test_a_shell_is_known_by_what_it_says_of_itself(name: str, description: str, key: str) -> None:
    chosen = tool(name, {key: STRING}, description)

    assert choose_shell_tool([tool("read", {"path": STRING}, "Reads a file"), chosen]) == chosen


@pytest.mark.parametrize(
    "other",
    [
        tool("bash", {"id": STRING}, "Shows the output of a shell"),
        tool("execute_code", {"code": STRING}, "Runs Python code; use terminal for shell commands"),
        tool("browser", {"command": STRING}, "Drives a browser"),
        tool("editor", {"command": {"type": "string", "enum": ["view", "create"]}}, "Edits files, not a shell"),
        Tool("apply_patch", "freeform", "Edits files"),
        Tool("exec", "freeform", "Runs JavaScript that may call shell tools"),
    ],
    ids=lambda other: other.name,
)
def test_tools_that_run_no_shell_command_are_not_chosen(other: Tool) -> None:
    assert choose_shell_tool([other]) is None


@pytest.mark.parametrize("built_in", [Tool("local_shell", "local_shell"), Tool("shell", "shell")])
def test_built_in_shells_are_chosen(built_in: Tool) -> None:
    assert choose_shell_tool([built_in]) == built_in


def test_only_the_command_and_required_properties_are_filled() -> None:
    properties = {
        "command": STRING,
        "description": STRING,
        "timeout": {"type": "number"},
        "background": {"type": "boolean"},
    }

    arguments = fill_arguments(tool("bash", properties, required=("command", "description", "background")), "ls")

    assert arguments == {"command": "ls", "description": "run the next step", "background": False}


def test_a_command_that_is_an_array_becomes_a_bash_call() -> None:
    command = {"type": "array", "items": STRING}

    assert fill_arguments(tool("shell", {"command": command}), "ls | wc") == {"command": ["bash", "-lc", "ls | wc"]}


@pytest.mark.parametrize(
    ("name", "schema", "value"),
    [
        ("timeout", {"type": "integer", "default": 9}, 9),
        ("timeout", {"type": "integer", "description": "in milliseconds"}, 60_000),
        ("timeout_ms", {"type": "number"}, 60_000),
        ("timeout", {"type": "integer", "description": "Seconds to wait"}, 60),
        ("timeout", {"type": "integer", "description": "Seconds to wait", "maximum": 30}, 30),
        ("timeout", {"type": "integer", "minimum": 100_000}, 100_000),
        ("lines", {"type": "integer", "minimum": 1}, 1),
        ("lines", {"type": "integer"}, 0),
        ("risk", {"type": "string", "enum": ["LOW", "HIGH"]}, "LOW"),
        ("mode", {"const": "sync"}, "sync"),
        ("workdir", {"type": "string"}, "."),
        ("reason", {"anyOf": [{"type": "string"}, {"type": "null"}]}, "run the next step"),
        ("shell", {"type": ["string", "null"]}, None),
        ("tags", {"type": "array", "items": {"type": "string"}}, []),
        ("env", {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}, {"a": False}),
    ],
)
def test_a_required_property_gets_a_value_of_its_type(name: str, schema: dict[str, Any], value: object) -> None:
    offered = tool("bash", {"command": STRING, name: schema}, required=(name,))

    assert fill_arguments(offered, "ls")[name] == value


def test_references_inside_a_schema_are_followed() -> None:
    schema = {
        "type": "object",
        "properties": {"command": STRING, "risk": {"$ref": "#/$defs/Risk"}},
        "required": ["command", "risk"],
        "$defs": {"Risk": {"type": "string", "enum": ["LOW", "HIGH"]}},
    }

    assert fill_arguments(Tool("bash", schema=schema), "ls") == {"command": "ls", "risk": "LOW"}
