"""What an agent is: one folder with an agent.toml, a Containerfile and configuration templates; no Python."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from pytest_agentcap.agents.templates import unknown_placeholders


class AgentError(ValueError):
    """Say which file and key of an agent's definition is wrong, or which agent is not there."""


class CommandLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give the first and the next turn's command line; `prompt` says how the prompt travels."""

    first: tuple[str, ...]
    next: tuple[str, ...]
    prompt: Literal["stdin", "argument"]


class SessionSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say where a session's id comes from.

    `chosen`: we make a UUID. `output`: the first turn's output tells it, as the first value at `json` of its JSON lines
    or as the first group of the regular expression `pattern`, searched in stdout and then stderr.
    """

    id: Literal["chosen", "output"]
    json: str | None = None
    pattern: str | None = None


class ReplySource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say what of stdout is the reply: all of it, or of the JSON lines that are like `where` the values at `json`."""

    json: str | None = None
    where: dict[str, str] = {}


class AgentFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name a file that each session gets: a `template` of the agent's folder, or a `program` of this package."""

    path: str
    template: str | None = None
    program: Literal["loop.py"] | None = None


class AgentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold one agent's definition, the content of its agent.toml; `folder` is where that lies."""

    name: str
    version: str
    api: Literal["chat", "completions", "responses", "messages", "gemini"]
    executable: str
    command: CommandLines
    session: SessionSource
    description: str = ""
    homepage: str = ""
    reply: ReplySource = ReplySource()
    environment: dict[str, str] = {}
    files: tuple[AgentFile, ...] = ()
    limits: dict[str, str] = {}
    folder: Path = Path()


def read_agent(path: Path) -> AgentSpec:
    """Read an agent.toml.

    Raises AgentError naming the file and the key.
    """
    try:
        spec = msgspec.toml.decode(path.read_bytes(), type=AgentSpec, strict=True)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise AgentError(f"{path}: {error}") from error
    spec = msgspec.structs.replace(spec, folder=path.parent)
    for problem in _problems(spec):
        raise AgentError(f"{path}: {problem}")
    return spec


def _problems(spec: AgentSpec) -> list[str]:
    found = []
    for key, words in (("first", spec.command.first), ("next", spec.command.next)):
        if not words:
            found.append(f"command.{key}: empty")
        if (spec.command.prompt == "argument") != any("{{prompt}}" in word for word in words):
            found.append(f'command.{key}: {{{{prompt}}}} belongs in it exactly when command.prompt = "argument"')
    if (spec.session.id == "output") != bool(spec.session.json or spec.session.pattern):
        found.append('session: json or pattern is needed when id = "output", and only then')
    for number, file in enumerate(spec.files):
        if bool(file.template) == bool(file.program):
            found.append(f"files[{number}]: give either template or program")
        if file.template and not (spec.folder / file.template).is_file():
            found.append(f"files[{number}].template: there is no {file.template} beside agent.toml")
    texts = [*spec.command.first, *spec.command.next, *spec.environment.values(), *(f.path for f in spec.files)]
    templates = [spec.folder / file.template for file in spec.files if file.template]
    texts += [template.read_text("utf-8") for template in templates if template.is_file()]
    found += [f"unknown placeholder {{{{{name}}}}}" for text in texts for name in unknown_placeholders(text)]
    return found
