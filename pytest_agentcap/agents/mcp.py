"""MCP servers from an `mcpServers` file, spelled as each agent wants them and put into its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from pytest_agentcap.agents.documents import convert
from pytest_agentcap.agents.spec import AgentError, AgentSpec, McpWay


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold one server: a program that speaks on standard input and output, or a URL."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str = ""
    headers: dict[str, str] = {}
    type: Literal["stdio", "http", "sse", "streamable-http"] | None = None


class _File(msgspec.Struct, frozen=True, rename="camel"):
    mcp_servers: dict[str, Server]


def read_servers(path: Path) -> dict[str, Server]:
    """Read the servers of a file.

    Raises AgentError naming the file and the key.
    """
    try:
        servers = convert(msgspec.json.decode(path.read_bytes()), _File).mcp_servers
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise AgentError(f"{path}: {error}") from error
    if not servers:
        raise AgentError(f"{path}: mcpServers: empty")
    for name, server in servers.items():
        if bool(server.command) == bool(server.url):
            raise AgentError(f"{path}: mcpServers.{name}: give either command or url")
    return servers


def with_servers(agent: AgentSpec, servers: dict[str, Server]) -> AgentSpec:
    """Return the agent with these servers in its configuration and what it needs for them on its command lines.

    Raises AgentError when this agent cannot take one of them.
    """
    way = agent.mcp
    if way is None:
        raise AgentError(f"the agent {agent.name} cannot take MCP servers: there is no [mcp] in its definition")
    for name, server in servers.items():
        if server.url and not way.shape.url:
            raise AgentError(f"mcpServers.{name}: the agent {agent.name} cannot take a server by its URL")
    command = agent.command
    return msgspec.structs.replace(
        agent,
        servers={name: spelled(way, server) for name, server in servers.items()},
        command=msgspec.structs.replace(
            command,
            first=_extended(command.first, way.arguments),
            next=_extended(command.next, way.arguments) if command.next else (),
        ),
    )


def spelled(way: McpWay, server: Server) -> dict[str, Any]:
    """Return a server as an agent's configuration spells it; what is empty is left out."""
    shape = way.shape
    kind = server.type or ("http" if server.url else "stdio")
    transport = {shape.transport: kind} if shape.transport else {}
    if server.url:
        headers = {shape.headers: server.headers} if server.headers else {}
        return {**shape.remote, **transport, shape.url: server.url, **headers}
    joined = shape.command == "joined"
    program: Any = [server.command, *server.args] if joined else server.command
    args = {"args": list(server.args)} if server.args and not joined else {}
    environment = {shape.environment: server.env} if server.env else {}
    return {**shape.local, **transport, shape.program: program, **args, **environment}


def _extended(words: tuple[str, ...], arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Add arguments where they are still options: at the end, or before `--`."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place] + arguments + words[place:]


def merged(agent: AgentSpec, text: str | None) -> bytes:
    """Return a configuration file with the agent's servers in it; `text` is None when there is no file yet.

    Raises AgentError when the file holds something else where the servers belong.
    """
    way = agent.mcp
    assert way is not None
    document = _decoded(way, text) if text is not None else {}
    *outer, last = way.key.split(".")
    table = document
    for key in outer:
        table = table.setdefault(key, {})
    if way.entries == "named":
        table[last] = {**table.get(last, {}), **agent.servers}
    else:
        table[last] = [*table.get(last, []), *({"name": name, **entry} for name, entry in agent.servers.items())]
    return _encoded(way, document)


def _decoded(way: McpWay, text: str) -> dict[str, Any]:
    if way.format == "json":
        document = msgspec.json.decode(text)
    else:
        document = msgspec.toml.decode(text) if way.format == "toml" else msgspec.yaml.decode(text)
    if not isinstance(document, dict):
        raise AgentError(f"{way.path}: is no table that MCP servers could be put into")
    return document


def _encoded(way: McpWay, document: dict[str, Any]) -> bytes:
    if way.format == "json":
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return msgspec.toml.encode(document) if way.format == "toml" else msgspec.yaml.encode(document)
