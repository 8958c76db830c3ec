"""What in an agent's definition is of the right types, and yet cannot be meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_agentcap.agents.templates import IMAGE, unknown_placeholders

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentFile, AgentSpec

_INSIDE = re.compile(r"\{\{(?:home|workspace)\}\}/.")


def problems_of(spec: AgentSpec) -> Iterator[str]:
    """Yield a line for each key that does not fit, which begins with the key."""
    for key in ("name", "version", "executable"):
        text = getattr(spec, key)
        if not text.strip() or not text.isprintable():
            yield f"{key}: {text!r} is no line of text"
    yield from _command_problems(spec)
    yield from _session_problems(spec)
    yield from _file_problems(spec.folder, "files", spec.files)
    if spec.images:
        if not any(IMAGE in way for way in (*spec.images.arguments, spec.images.prompt or "")):
            yield f"images: {IMAGE} belongs in arguments or in prompt"
        yield from _file_problems(spec.folder, "images.files", spec.images.files)
    for name in spec.environment:
        if not name or "=" in name or "\0" in name:
            yield f"environment: {name!r} is no name of a variable"
    for key, text in _texts(spec):
        yield from (f"{key}: unknown placeholder {{{{{name}}}}}" for name in unknown_placeholders(text))
        if "\0" in text:
            yield f"{key}: {text!r} holds a NUL character"
    for key, path in _written_paths(spec):
        if not _INSIDE.match(path) or ".." in PurePosixPath(path).parts:
            yield f"{key}: {path!r} does not begin with {{{{home}}}}/ or {{{{workspace}}}}/, or leads out of it"


def _command_problems(spec: AgentSpec) -> Iterator[str]:
    command = spec.command
    if bool(command.next) == (spec.session.id == "none"):
        yield 'command.next: empty exactly when session.id = "none"'
    if not command.first or not command.first[0]:
        yield "command.first: empty"
    for key, words in (("first", command.first), ("next", command.next)):
        yield from (f"command.{key}: {problem}" for problem in _prompt_problems(command.prompt, words))


def _prompt_problems(travels: str, words: tuple[str, ...]) -> Iterator[str]:
    """An argument that begins with a dash is an option to the agent, unless it is the value of one or behind `--`."""
    for placeholder, kind in (("{{prompt}}", "argument"), ("{{prompt_file}}", "file")):
        places = [number for number, word in enumerate(words) if placeholder in word]
        if words and (travels == kind) != bool(places):
            yield f'{placeholder} belongs in it exactly when command.prompt = "{kind}"'
        if kind == "argument" and not all(
            number and _takes_a_value(words[number - 1 : number + 1]) for number in places
        ):
            yield f"{placeholder} must stand behind -- or behind an option, which takes it as its value"


def _takes_a_value(words: tuple[str, ...]) -> bool:
    before, word = words
    return before.startswith("-") or (word.startswith("-") and "=" in word.partition("{{prompt}}")[0])


def _session_problems(spec: AgentSpec) -> Iterator[str]:
    session = spec.session
    if (session.id == "output") != bool(session.json or session.pattern):
        yield 'session: json or pattern is needed when id = "output", and only then'
    if (session.id == "file") != bool(session.path):
        yield 'session.path: needed when id = "file", and only then'
    try:
        groups = re.compile(session.pattern).groups if session.pattern else 1
    except re.error as error:
        yield f"session.pattern: {session.pattern!r} is no regular expression: {error}"
    else:
        if not groups:
            yield f"session.pattern: {session.pattern!r} has no group, which is to be the id"


def _file_problems(folder: Path, key: str, files: tuple[AgentFile, ...]) -> Iterator[str]:
    for number, file in enumerate(files):
        if bool(file.template) == bool(file.program):
            yield f"{key}[{number}]: give either template or program"
        if file.template and not _is_beside(folder, file.template):
            yield f"{key}[{number}].template: there is no {file.template} beside agent.toml"
        elif file.template and _content(folder, file.template) is None:
            yield f"{key}[{number}].template: {file.template} is no text in UTF-8"


def _is_beside(folder: Path, template: str) -> bool:
    path = folder / template
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _content(folder: Path, template: str) -> str | None:
    try:
        return (folder / template).read_text("utf-8")
    except UnicodeDecodeError:
        return None


def _written_paths(spec: AgentSpec) -> Iterator[tuple[str, str]]:
    """Yield the key and path of each place that is written to."""
    yield from ((f"files[{number}].path", file.path) for number, file in enumerate(spec.files))
    images = spec.images.files if spec.images else ()
    yield from ((f"images.files[{number}].path", file.path) for number, file in enumerate(images))
    if spec.mcp:
        yield "mcp.path", spec.mcp.path
    if spec.skills is not None:
        yield "skills", spec.skills


def _texts(spec: AgentSpec) -> Iterator[tuple[str, str]]:
    """Yield the key and text of everything whose placeholders are filled in."""
    yield from (("command.first", word) for word in spec.command.first)
    yield from (("command.next", word) for word in spec.command.next)
    yield from ((f"environment.{name}", value) for name, value in spec.environment.items())
    yield from (("trace.paths", path) for path in spec.trace.paths)
    yield from (("trace.export", word) for word in spec.trace.export)
    yield from (
        (key, text) for key, text in (("session.path", spec.session.path), ("reply.file", spec.reply.file)) if text
    )
    yield from _written_paths(spec)
    if spec.mcp:
        yield from (("mcp.arguments", word) for word in spec.mcp.arguments)
    if spec.images:
        yield from (("images.arguments", word.replace(IMAGE, "")) for word in spec.images.arguments)
        yield "images.prompt", (spec.images.prompt or "").replace(IMAGE, "")
    for file in spec.every_file:
        if file.template and _is_beside(spec.folder, file.template):
            yield file.template, _content(spec.folder, file.template) or ""
