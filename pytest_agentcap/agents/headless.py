"""A headless adapter schema as an agent: its file read and checked, its command lines made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pytest_agentcap.agents.documents import convert
from pytest_agentcap.agents.headless_schema import HeadlessSchema
from pytest_agentcap.agents.jsonpath import is_path
from pytest_agentcap.agents.spec import AgentError, AgentSpec, CommandLines, SessionSource
from pytest_agentcap.agents.templates import unknown_placeholders
from pytest_agentcap.strict import loads

ENDING = ".json"
# Where the libraries that agents are made with look for their model server; the key is a placeholder as everywhere.
PROXY_ENVIRONMENT = {
    "OPENAI_BASE_URL": "{{base_url}}",
    "OPENAI_API_BASE": "{{base_url}}",
    "OPENAI_API_KEY": "{{api_key}}",
    "OPENAI_MODEL": "{{model}}",
    "ANTHROPIC_BASE_URL": "{{root_url}}",
    "ANTHROPIC_API_KEY": "{{api_key}}",
    "ANTHROPIC_MODEL": "{{model}}",
    "GOOGLE_GEMINI_BASE_URL": "{{root_url}}",
    "GEMINI_API_KEY": "{{api_key}}",
    "GEMINI_MODEL": "{{model}}",
}


def read_headless(path: Path) -> AgentSpec:
    """Read a schema file; the agent's version is made of the file's SHA-256, for it tells none.

    Raises AgentError naming the file and the key.
    """
    try:
        data = path.read_bytes()
        schema = convert(loads(data), HeadlessSchema)
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise AgentError(f"{path}:{error.lineno}: not valid JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise AgentError(f"{path}: {error}") from error
    for problem in _problems(schema):
        raise AgentError(f"{path}: {problem}")
    return AgentSpec(
        name=schema.name,
        version=f"schema-{hashlib.sha256(data).hexdigest()[:8]}",
        api="chat",
        executable=schema.command[0],
        command=_command_lines(schema),
        session=SessionSource("none"),
        description="A headless adapter of agent-eval-harness",
        environment=PROXY_ENVIRONMENT,
        folder=path.parent,
        headless=schema,
    )


def unread_keys(path: Path) -> str | None:
    """Tell in a line which keys of a schema file that can be read nobody reads; None when there are none."""
    given = loads(path.read_bytes())
    unread = ", ".join(_unread(given, msgspec.to_builtins(convert(given, HeadlessSchema)), ""))
    return f"{path}: keys that nobody reads: {unread}" if unread else None


def _unread(given: object, kept: object, way: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from _unread(value, kept[key], f"{way}{key}.")
            elif key != "$schema":
                yield way + key
    elif isinstance(given, list) and isinstance(kept, tuple):
        for place, (item, kept_item) in enumerate(zip(given, kept, strict=True)):
            yield from _unread(item, kept_item, f"{way.removesuffix('.')}[{place}].")


def on_host(agent: AgentSpec) -> AgentSpec:
    """Return the agent with the files that its schema's command names beside it, for it runs in another folder."""
    schema = agent.headless
    assert schema is not None
    command = tuple(found_word(word, agent.folder, first=n == 0) for n, word in enumerate(schema.command))
    lines = _command_lines(msgspec.structs.replace(schema, command=command))
    return msgspec.structs.replace(agent, command=lines, executable=command[0])


def found_word(word: str, here: Path, first: bool) -> str:
    """Return a word of a command line, as an absolute path where it names a file; a program's bare name is for PATH."""
    path = here.absolute() / word
    # Not Path.is_file, which raises when a word is too long for a name: scripts are given as words, too.
    return str(path) if (not first or "/" in word) and os.path.isfile(path) else word  # noqa: PTH113


def _command_lines(schema: HeadlessSchema) -> CommandLines:
    words = list(schema.command)
    if schema.output.flag:
        words += [schema.output.flag, schema.output.value]
    words += schema.auto_approve
    if schema.cwd_flag:
        words += [schema.cwd_flag, "{{workspace}}"]
    prompt = [] if schema.prompt.stdin else [word for word in (schema.prompt.flag, "{{prompt}}") if word]
    again: tuple[str, ...] = ()
    if schema.session_mode == "iterative":
        again = (*words, *prompt)
    elif schema.resume:
        again = (*words, schema.resume.flag, "{{session}}", *prompt)
    return CommandLines((*words, *prompt), again, "stdin" if schema.prompt.stdin else "argument")


def _problems(schema: HeadlessSchema) -> list[str]:
    found = [] if schema.command and schema.command[0] else ["command: empty"]
    if not schema.name.strip() or not schema.name.isprintable():
        found.append(f"name: {schema.name!r} is no line of text")
    if schema.prompt.flag and schema.prompt.stdin:
        found.append("prompt: flag and stdin exclude each other")
    if schema.output_mode == "passthrough" and schema.passthrough_type_map is None:
        found.append('passthroughTypeMap: needed when outputMode = "passthrough"')
    if schema.timeout is not None and not schema.timeout > 0:
        found.append(f"timeout: {schema.timeout:g} is not a number of milliseconds above 0")
    for key, path in _paths(schema):
        if not is_path(path):
            found.append(f"{key}: {path!r} is no path: $.name, $.name[0], $.name[*] or 'literal'")
    words = [("command", word) for word in schema.command] + [("autoApprove", word) for word in schema.auto_approve]
    for key, word in [*words, ("output.value", schema.output.value)]:
        found += [f"{key}: unknown placeholder {{{{{name}}}}}" for name in unknown_placeholders(word)]
        found += [f"{key}: {word!r} holds a NUL character"] if "\0" in word else []
    return found


def _paths(schema: HeadlessSchema) -> list[tuple[str, str]]:
    paths = [("result.matchPath", schema.result.match_path)]
    paths += [(f"outputEvents[{n}].match.path", event.match.path) for n, event in enumerate(schema.output_events)]
    if schema.resume:
        paths.append(("resume.sessionIdPath", schema.resume.session_id_path))
    return paths
