from __future__ import annotations

import json

from pytest_agentcap.cli import main

TINY = """
    name = "tiny"
    version = "7"
    api = "messages"
    executable = "no-such-program"
    command = { first = ["tiny"], next = ["tiny"], prompt = "stdin" }
    session = { id = "chosen" }
"""


def listed(capsys) -> dict[str, dict[str, object]]:
    assert main(["agents", "--json"]) == 0
    return {agent["name"]: agent for agent in json.loads(capsys.readouterr().out)}


def test_agents_are_listed_with_what_is_known_of_them(project, monkeypatch, capsys):
    project.write("agents/tiny/agent.toml", TINY)
    monkeypatch.chdir(project.path)
    assert main(["agents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "API", "INSTALLED", "IMAGE", "DESCRIPTION"]
    (tiny,) = [line.split() for line in lines if line.startswith("tiny ")]
    assert tiny == ["tiny", "7", "messages", "no", "-"]
    agents = listed(capsys)
    assert {"loop", "pi", "opencode", "hermes", "qwen", "tiny"} <= agents.keys()
    assert agents["loop"]["installed"] is True
    assert agents["tiny"] == {
        "name": "tiny",
        "version": "7",
        "api": "messages",
        "installed": False,
        "image": None,
        "description": "",
    }


def test_an_agent_that_cannot_be_read_is_named_beside_the_others(project, monkeypatch, capsys):
    project.write("agents/tiny/agent.toml", TINY.replace('"7"', "7"))
    monkeypatch.chdir(project.path)
    assert main(["agents"]) == 1
    said = capsys.readouterr()
    assert said.err.endswith("agents/tiny/agent.toml: Expected `str`, got `int` - at `$.version`\n")
    names = [line.split()[0] for line in said.out.splitlines()]
    assert "loop" in names
    assert "tiny" not in names


def test_without_podman_nothing_is_said_of_images(project, monkeypatch, capsys):
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("PATH", str(project.path))
    assert listed(capsys)["loop"]["image"] is None
