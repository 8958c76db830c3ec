"""From an agent's definition to what runs in a sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from pytest_agentcap.agents.images import prompt_with_images, with_images
from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.sandbox.base import Command, SandboxSession

PROMPT_FILE = ".agentcap-prompt"


def variables_of(model: str, box: SandboxSession, lease: str, session: str = "", prompt: str = "") -> Variables:
    """Return what an agent's definition may refer to in one session."""
    root = f"{box.proxy_origin}/{lease}"
    prompt_file = f"{box.home}/{PROMPT_FILE}"
    return Variables(f"{root}/v1", root, model, box.home, box.workspace, session, prompt, prompt_file)


def environment_of(agent: AgentSpec, variables: Variables) -> dict[str, str]:
    """Return the variables of an agent's commands, beside those of its sandbox."""
    own = {key: variables.render(value) for key, value in agent.environment.items()}
    told = {"AGENTCAP_AGENT": agent.name, "AGENTCAP_PROXY_URL": variables.base_url, "AGENTCAP_MODEL": variables.model}
    return own | told


def agent_files(agent: AgentSpec, model: str, box: SandboxSession, lease: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of every file that the agent wants before its first turn."""
    variables = variables_of(model, box, lease)
    for file in agent.files:
        path = variables.render(file.path)
        if file.template:
            yield path, variables.render((agent.folder / file.template).read_text("utf-8")).encode()
        elif file.program:
            yield path, Path(str(files("pytest_agentcap") / "agents" / file.program)).read_bytes()
    if agent.servers:
        yield _configured_servers(agent, variables)


def _configured_servers(agent: AgentSpec, variables: Variables) -> tuple[str, bytes]:
    """Return the file that holds the agent's MCP servers: the template of that path with them in it, or a new one."""
    from pytest_agentcap.agents.mcp import merged

    assert agent.mcp is not None
    templates = [file.template for file in agent.files if file.path == agent.mcp.path]
    text = variables.render((agent.folder / str(templates[0])).read_text("utf-8")) if templates else None
    return variables.render(agent.mcp.path), merged(agent, text)


def turn_command(
    agent: AgentSpec,
    model: str,
    box: SandboxSession,
    lease: str,
    prompt: str,
    number: int,
    session: str | None,
    images: Sequence[str] = (),
) -> tuple[Command, str | None]:
    """Return the n-th turn's command, and the session id if it is known before the turn.

    `images` are paths in the sandbox; the first turn brings them.
    """
    if number == 1 and agent.session.id == "chosen":
        session = str(uuid.uuid4())
    variables = variables_of(model, box, lease, session or "", prompt)
    if agent.images and number == 1:
        prompt = prompt_with_images(prompt, agent.images, variables, images)
        variables = replace(variables, prompt=prompt)
    if agent.command.prompt == "file":
        box.put(variables.prompt_file, prompt.encode(), 0o600)
    words = agent.command.first if number == 1 else agent.command.next
    if agent.images and number == 1:
        words = with_images(words, agent.images, images)
    command = Command(
        argv=[variables.render(word) for word in words],
        env=environment_of(agent, variables),
        stdin=prompt.encode() if agent.command.prompt == "stdin" else None,
        stdout=Path(),
        stderr=Path(),
        timeout_s=0.0,
    )
    return command, session
