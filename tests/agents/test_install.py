"""Installing agents, with packages that lie on this machine: nothing is downloaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pytest_agentcap.agents.install import find_python, install_agent, main
from pytest_agentcap.agents.spec import AgentError, AgentSpec, CommandLines, Install, SessionSource

TEMPLATE = AgentSpec(
    name="stub",
    version="1",
    api="chat",
    executable="stub-agent",
    command=CommandLines(("stub-agent",), (), "stdin"),
    session=SessionSource("none"),
)


def make_wheel(folder: Path) -> Path:
    path = folder / "stub_agent-1.0-py3-none-any.whl"
    about = "stub_agent-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("stub_agent.py", "import sys\ndef main():\n    print('python', *sys.argv[1:])\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: stub-agent\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/entry_points.txt", "[console_scripts]\nstub-agent = stub_agent:main\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path


def make_npm_package(folder: Path, name: str, script: str) -> Path:
    package = folder / name
    package.mkdir()
    (package / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", "bin": {name: "run"}}))
    (package / "run").write_text(script)
    (package / "run").chmod(0o755)
    return package


def run(program: Path, *words: str) -> str:
    done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def npm_agent(tmp_path: Path, need: Callable[[str], None]) -> Callable[[str], AgentSpec]:
    """Make an agent of one npm package, which tells what Node it runs with."""
    need("npm")
    script = "#!/usr/bin/env node\nconsole.log('node', process.env.STUB_NODE, ...process.argv.slice(2))\n"

    def make(folder: str) -> AgentSpec:
        (tmp_path / folder).mkdir()
        package = make_npm_package(tmp_path / folder, "stub-agent", script)
        return msgspec.structs.replace(TEMPLATE, install=Install(npm=(str(package),)))

    return make


@pytest.fixture
def node(tmp_path: Path, need: Callable[[str], None]) -> str:
    """Make a package in place of Node's: npm runs with it too, so it must be one."""
    need("node")
    asked = ["node", "-p", "process.execPath"]
    real = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return str(make_npm_package(tmp_path, "node", f'#!/bin/sh\nexport STUB_NODE=ours\nexec {real} "$@"\n'))


def test_an_npm_agent_runs_with_the_node_that_came_with_it(
    tmp_path: Path, npm_agent: Callable[[str], AgentSpec], node: str
) -> None:
    program = install_agent(npm_agent("one"), tmp_path / "prefix", lambda line: None, node=node)

    assert run(program, "--help me") == "node ours --help me"
    assert [path.name for path in program.parent.iterdir()] == ["stub-agent"]


def test_an_agent_is_installed_once_and_again_when_its_packages_change(
    tmp_path: Path, npm_agent: Callable[[str], AgentSpec], node: str
) -> None:
    one, two = npm_agent("one"), npm_agent("two")
    told: list[str] = []

    for agent in (one, one, two):
        install_agent(agent, tmp_path / "prefix", told.append, node=node)

    assert told == [f"installing {package}" for package in (node, one.install.npm[0], two.install.npm[0])]


@pytest.mark.parametrize(
    ("install", "problem"),
    [
        (Install(), "stub: its agent.toml lists no packages to install; see its page"),
        (Install(npm=("./not-there",)), "npm install .* ended with [0-9]+: see .*prefix/npm/stub.log"),
        (Install(pip=("x",), python="2.1"), "there is no Python 2.1: install one"),
    ],
)
def test_what_cannot_be_installed_is_said_in_one_line_and_tried_again(
    tmp_path: Path, node: str, install: Install, problem: str
) -> None:
    agent = msgspec.structs.replace(TEMPLATE, install=install)
    for _ in range(2):
        with pytest.raises(AgentError, match=problem) as caught:
            install_agent(agent, tmp_path / "prefix", lambda line: None, node=node)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "prefix" / "bin").exists()


def test_packages_without_the_agents_program_are_an_error(
    tmp_path: Path, npm_agent: Callable[[str], AgentSpec], node: str
) -> None:
    agent = msgspec.structs.replace(npm_agent("one"), executable="another")
    with pytest.raises(AgentError, match="stub: no program another was installed in "):
        install_agent(agent, tmp_path / "prefix", lambda line: None, node=node)


def test_a_python_on_path_that_does_not_start_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, works = tmp_path / "broken", tmp_path / "works"
    for folder, line in ((broken, "exit 127"), (works, "echo 3.99")):
        folder.mkdir()
        (folder / "python3.99").write_text(f"#!/bin/sh\n{line}\n")
        (folder / "python3.99").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}{os.pathsep}{works}")
    assert find_python("3.99") == str(works / "python3.99")
    assert find_python(None) == sys.executable


def test_a_python_agent_is_on_path_with_the_line_that_is_all_stdout_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "agents" / "stub"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(
        'name = "stub"\nversion = "1"\napi = "chat"\nexecutable = "stub-agent"\nsession = { id = "none" }\n'
        'command = { first = ["stub-agent"], next = [], prompt = "stdin" }\n'
        f'install = {{ pip = ["{make_wheel(tmp_path)}"] }}\n'
    )
    monkeypatch.chdir(tmp_path)

    assert main(["stub", "--prefix", "a place"]) == 0
    told = capsys.readouterr()
    assert told.out == f"export PATH='{tmp_path}/a place/bin':\"$PATH\"\n"
    found = subprocess.run(["sh", "-c", f"{told.out}stub-agent x"], capture_output=True, text=True, check=True)
    assert found.stdout == "python x\n"

    assert main(["nobody", "--prefix", "a place"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("tools/install-agents: no agent is called 'nobody'")
