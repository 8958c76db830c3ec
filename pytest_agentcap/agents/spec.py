"""What an agent is: one folder with an agent.toml, a Containerfile and configuration templates; no Python."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from pytest_agentcap.agents.documents import convert
from pytest_agentcap.agents.headless_schema import HeadlessSchema
from pytest_agentcap.agents.spec_problems import problems_of

# What is made by us and not read from an agent.toml.
MADE = frozenset({"folder", "headless", "speaks_rpc", "on_host_only", "servers"})


class AgentError(ValueError):
    """Say which file and key of an agent's definition is wrong, or which agent is not there."""


class CommandLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give the first and the next turn's command line; `prompt` says how the prompt travels.

    `next` is empty for an agent that cannot go on with a session.
    """

    first: tuple[str, ...]
    next: tuple[str, ...]
    prompt: Literal["stdin", "argument", "file"]


class SessionSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say where a session's id comes from.

    `chosen`: we make a UUID. `output`: the first turn's output tells it, as the first value at `json` of its JSON lines
    or as the first group of the regular expression `pattern`, searched in stdout and then stderr. `file`: it is the
    name, without its ending, of the last file or folder by name that matches the glob `path`. `none`: there is no
    session to go on with.
    """

    id: Literal["chosen", "output", "file", "none"]
    json: str | None = None
    pattern: str | None = None
    path: str | None = None


class ReplySource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say what is the reply: all of stdout or of `file`, or of its JSON lines like `where` the texts at `json`."""

    json: str | tuple[str, ...] | None = None
    where: dict[str, str] = {}
    file: str | None = None


class Trace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say where the agent's own log of a session is.

    `paths` are globs of files and folders that hold this session and no other; `export` is a command that prints it,
    for agents that keep their sessions in a database, and `name` the file that its output becomes.
    """

    paths: tuple[str, ...] = ()
    export: tuple[str, ...] = ()
    name: str = "session.json"


class Install(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say what installs the agent on this machine: packages with their versions, and the Python they need."""

    npm: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    python: str | None = None


class McpShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how an agent spells one MCP server where it is not as Claude Code does.

    `command`: `split` is a program and its `args`, `joined` one list of both. `program`, `environment`, `url` and
    `headers` name keys; an empty `url` says that it takes programs only. `transport` names the key, if there is one,
    that says `stdio`, `http` or `sse`. `local` and `remote` are constants of a server that is a program, and of one
    that has a URL.
    """

    command: Literal["split", "joined"] = "split"
    program: str = "command"
    environment: str = "env"
    url: str = "url"
    headers: str = "headers"
    transport: str = ""
    local: dict[str, Any] = {}
    remote: dict[str, Any] = {}


class McpWay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how an agent takes MCP servers: in the file `path`, below the dotted `key`, and with what more `arguments`.

    `entries`: `named` is a table by the servers' names, `listed` a list whose items have a `name`.
    """

    path: str
    format: Literal["json", "toml", "yaml"] = "json"
    key: str = "mcpServers"
    arguments: tuple[str, ...] = ()
    entries: Literal["named", "listed"] = "named"
    shape: McpShape = McpShape()


class AgentFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name a file that each session gets: a `template` of the agent's folder, or a `program` of this package."""

    path: str
    template: str | None = None
    program: Literal["loop.py"] | None = None


class ImageWay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how an agent takes images: `arguments` are added to its first command line for each, `prompt` to its prompt.

    `{{image}}` is the image's path in the sandbox; one of the two has it. `files` stand in the place of the agent's
    files of the same paths where a task has images.
    """

    arguments: tuple[str, ...] = ()
    prompt: str | None = None
    files: tuple[AgentFile, ...] = ()


class AgentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold one agent's definition, the content of its agent.toml; `folder` is where that lies.

    `headless` is the schema of an agent that is defined by one, `speaks_rpc` is true of a program that speaks JSON-RPC,
    `on_host_only` of one that no image is made for, `skills_copied` of one that takes no link for a skill's folder.
    `servers` are the MCP servers that this agent gets, in its own shape.
    """

    name: str
    version: str
    api: Literal["chat", "completions", "responses", "messages", "gemini"]
    executable: str
    command: CommandLines
    session: SessionSource
    description: str = ""
    homepage: str = ""
    reply: ReplySource = ReplySource()
    trace: Trace = Trace()
    install: Install = Install()
    skills: str | None = None
    skills_copied: bool = False
    environment: dict[str, str] = {}
    files: tuple[AgentFile, ...] = ()
    limits: dict[str, str] = {}
    mcp: McpWay | None = None
    images: ImageWay | None = None
    folder: Path = Path()
    headless: HeadlessSchema | None = None
    speaks_rpc: bool = False
    on_host_only: bool = False
    servers: dict[str, dict[str, Any]] = {}

    @property
    def key(self) -> str:
        """Return what tells this agent from others of the same pytest session."""
        return f"{self.folder}\n{self.name}\n{self.version}"

    @property
    def is_adapter(self) -> bool:
        """Tell a headless schema, an adapter or a command line from an agent that has an agent.toml."""
        return self.headless is not None or self.on_host_only

    @property
    def timeout_s(self) -> float | None:
        """Return the seconds that the definition gives a turn."""
        told = self.headless.timeout if self.headless else None
        return None if told is None else told / 1000

    @property
    def every_file(self) -> tuple[AgentFile, ...]:
        """Return all files that a session may get, those for tasks with images, too."""
        return self.files + (self.images.files if self.images else ())


def read_agent(path: Path) -> AgentSpec:
    """Read an agent.toml.

    Raises AgentError naming the file and the key.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        for key in sorted(MADE & set(document)):
            raise AgentError(f"{path}: Object contains unknown field `{key}`")
        spec = msgspec.structs.replace(convert(document, AgentSpec), folder=path.parent)
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise AgentError(f"{path}: {error}") from error
    for problem in problems_of(spec):
        raise AgentError(f"{path}: {problem}")
    return spec
