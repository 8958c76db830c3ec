"""Choose the shell-like tool among those a request offers, and fill its arguments by its JSON schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_agentcap.upstream.exchange import Tool

_SHELL_NAMES = (
    "bash",
    "shell",
    "local_shell",
    "exec_command",
    "shell_command",
    "run_shell_command",
    "execute_command",
    "run_command",
    "run_terminal_command",
    "run_bash",
    "execute_bash",
    "terminal",
    "exec",
)
_COMMAND_PROPERTIES = ("command", "cmd", "script", "code", "commands")
_SPEAKS_OF_SHELL = re.compile(r"\b(?:shell|terminal|bash|commands?)\b", re.IGNORECASE)
_SPEAKS_OF_OTHER_LANGUAGE = re.compile(r"\b(?:python|javascript|typescript|ipython|jupyter)\b", re.IGNORECASE)
_NOTE = "run the next step"


def choose_shell_tool(tools: Sequence[Tool]) -> Tool | None:
    """Return the tool that runs shell commands: known names first, then what its description and schema say."""
    usable = [tool for tool in tools if _takes_command(tool)]
    for name in _SHELL_NAMES:
        for tool in usable:
            if _plain(tool.name) == _plain(name):
                return tool
    return next((tool for tool in usable if _speaks_of_shell(tool)), None)


def fill_arguments(tool: Tool, command: str) -> dict[str, Any]:
    """Return arguments that fit a function's schema: the command and every other required property.

    Raises ValueError when the schema has no property that takes a command.
    """
    name = _command_property(tool)
    if name is None:
        raise ValueError(f"tool {tool.name!r} has no property that takes a command")
    properties = _properties(tool)
    command_schema = _resolved(properties[name], tool.schema)
    arguments: dict[str, Any] = {name: _command_value(name, command_schema, command)}
    for key in tool.schema.get("required") or ():
        if key not in arguments:
            arguments[key] = _value(key, properties.get(key, {}), tool.schema)
    return arguments


def _takes_command(tool: Tool) -> bool:
    if tool.kind in ("local_shell", "shell"):
        return True
    if tool.kind == "freeform":
        # The text of a freeform tool is a program in the language its description names.
        return _speaks_of_shell(tool) and not _SPEAKS_OF_OTHER_LANGUAGE.search(tool.description)
    return _command_property(tool) is not None


def _speaks_of_shell(tool: Tool) -> bool:
    return _SPEAKS_OF_SHELL.search(f"{_words(tool.name)} {tool.description}") is not None


def _command_property(tool: Tool) -> str | None:
    properties = _properties(tool)
    for name in _COMMAND_PROPERTIES:
        schema = _resolved(properties.get(name, {}), tool.schema)
        if not _types(schema) & {"string", "array"} or "enum" in schema:
            continue
        if name == "code" and _SPEAKS_OF_OTHER_LANGUAGE.search(f"{_words(tool.name)} {tool.description}"):
            continue
        return name
    return None


def _command_value(name: str, schema: Mapping[str, Any], command: str) -> str | list[str]:
    if "string" in _types(schema):
        return command
    return [command] if name == "commands" else ["bash", "-lc", command]


def _value(name: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = _resolved(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    types = _types(schema)
    if "null" in types:
        return None
    if types & {"integer", "number"}:
        return _number(name, schema)
    if "boolean" in types:
        return False
    if "array" in types:
        return [_value(name, schema.get("items") or {}, root)] * int(schema.get("minItems", 0))
    if "object" in types:
        properties = schema.get("properties") or {}
        return {key: _value(key, properties.get(key, {}), root) for key in schema.get("required") or ()}
    return "." if re.search(r"dir|cwd|path", name, re.IGNORECASE) else _NOTE


def _number(name: str, schema: Mapping[str, Any]) -> int | float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "timeout" not in name.lower():
        return low if low is not None else 0
    # Without a unit the larger figure is the safe one: it is long in seconds, but 60 milliseconds kill any command.
    hint = f"{_words(name)} {schema.get('description', '')}"
    seconds = re.search(r"\b(?:seconds?|secs?|s)\b", hint, re.IGNORECASE)
    milliseconds = re.search(r"\b(?:milliseconds?|ms)\b", hint, re.IGNORECASE)
    value = 60 if seconds and not milliseconds else 60_000
    if high is not None:
        value = min(value, high)
    return value if low is None else max(value, low)


def _properties(tool: Tool) -> Mapping[str, Any]:
    properties = _resolved(tool.schema, tool.schema).get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _resolved(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: object = root
        for part in reference[2:].split("/"):
            target = target.get(part) if isinstance(target, Mapping) else None
        return target if isinstance(target, Mapping) else {}
    for key in ("anyOf", "oneOf", "allOf"):
        options = schema.get(key)
        if isinstance(options, list) and options:
            merged = {k: v for k, v in schema.items() if k != key}
            return {**_resolved(options[0], root), **merged}
    return schema


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    declared = schema.get("type")
    if isinstance(declared, str):
        return frozenset((declared,))
    return frozenset(declared) if isinstance(declared, list) else frozenset()


def _words(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
