"""The command lines and files of every shipped agent, run against a program that only tells what it was given."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.agents.commands import agent_files, turn_command, variables_of
from pytest_agentcap.agents.spec import AgentSpec, read_agent
from pytest_agentcap.sandbox.base import SandboxOptions
from pytest_agentcap.sandbox.host import HostSandbox, HostSession
from pytest_agentcap.sandbox.reaper import Owner
from pytest_agentcap.shipped import packaged

MODEL, LEASE, SESSION = "org/model-1", "a-lease", "told-session"
PROMPT = '--help {{model}} @notes.txt "quoted" $HOME\n/exit é'
STUB = """#!{python}
import json, os, sys
told = {{"argv": sys.argv[1:], "stdin": sys.stdin.read(), "env": dict(os.environ), "cwd": os.getcwd()}}
print(json.dumps(told))
"""
PLACEHOLDER = re.compile(r"\{\{\w+\}\}")
AGENTS = [read_agent(path) for path in sorted(packaged("agents").glob("*/agent.toml"))]


class ClosedDoor:
    def listen(self, sock: socket.socket) -> ClosedDoor:
        return self

    def close(self) -> None:
        pass


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> AgentSpec:
    given: AgentSpec = request.param
    return given


@pytest.fixture
def box(agent: AgentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostSession]:
    stub = tmp_path / "bin" / agent.executable
    stub.parent.mkdir()
    stub.write_text(STUB.format(python=sys.executable))
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}{os.pathsep}{os.environ['PATH']}")
    state = tmp_path / "state"
    state.mkdir()
    session = HostSandbox(agent.executable, Owner.claim(state)).start("task", ClosedDoor(), SandboxOptions())
    yield session
    session.close()


def run_turn(agent: AgentSpec, box: HostSession, number: int, session: str | None, folder: Path) -> Any:
    command, session = turn_command(agent, MODEL, box, LEASE, PROMPT, number, session)
    assert command.argv[0] == agent.executable
    out = folder / f"{number}.out"
    done = box.run(replace(command, stdout=out, stderr=folder / "err", timeout_s=60), lambda: None)
    assert done.exit_code == 0
    return json.loads(out.read_bytes()), session


def read_prompt(agent: AgentSpec, told: Any, box: HostSession) -> str:
    """Return the prompt as the agent would find it, which is told by its only way in."""
    if agent.command.prompt == "stdin":
        return str(told["stdin"])
    assert told["stdin"] == ""
    if agent.command.prompt == "file":
        variables = variables_of(MODEL, box, LEASE)
        assert any(variables.prompt_file in word for word in told["argv"])
        return Path(variables.prompt_file).read_text()
    words = [word for word in told["argv"] if PROMPT in word]
    assert len(words) == 1
    return str(words[0]).removeprefix(words[0].removesuffix(PROMPT))


def test_every_turn_gets_its_prompt_as_declared_and_no_placeholder_is_left(
    agent: AgentSpec, box: HostSession, tmp_path: Path
) -> None:
    first, session = run_turn(agent, box, 1, None, tmp_path)
    turns = [first]
    if agent.command.next:
        second, session = run_turn(agent, box, 2, session or SESSION, tmp_path)
        turns.append(second)
        if any("{{session}}" in word for word in agent.command.next):
            assert any(str(session) in word for word in second["argv"])

    for told in turns:
        assert read_prompt(agent, told, box) == PROMPT
        assert told["cwd"] == box.workspace
        told_of_us = [*told["argv"], *(told["env"][name] for name in agent.environment)]
        assert not PLACEHOLDER.search("\n".join(told_of_us).replace(PROMPT, ""))
        assert told["env"]["HOME"] == box.home


def test_files_name_the_proxy_with_the_lease_and_the_model_where_commands_do_not(
    agent: AgentSpec, box: HostSession
) -> None:
    files = dict(agent_files(agent, MODEL, box, LEASE))
    words = [*agent.command.first, *agent.environment.values()]
    variables = variables_of(MODEL, box, LEASE)
    given = "\n".join([*(variables.render(word) for word in words), *(data.decode() for data in files.values())])

    for path, data in files.items():
        assert path.startswith((f"{box.home}/", f"{box.workspace}/"))
        box.put(path, data)
        if path.endswith(".json"):
            json.loads(data)
    assert variables.root_url in given
    assert MODEL in given
    templates = {file.path: file.template for file in agent.files if file.template}
    for path in templates:
        assert not PLACEHOLDER.search(files[variables.render(path)].decode())


def test_logs_are_looked_for_in_the_home_or_told_by_the_agents_own_program(agent: AgentSpec, box: HostSession) -> None:
    variables = variables_of(MODEL, box, LEASE, SESSION)
    for path in agent.trace.paths:
        assert variables.render(path).startswith(f"{box.home}/")
    if agent.trace.export:
        assert agent.trace.export[0] == agent.executable
        assert any(SESSION in variables.render(word) for word in agent.trace.export)
