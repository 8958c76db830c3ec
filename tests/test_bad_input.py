"""What cannot work ends before anything runs: one clear line, the right exit status, nothing half-written."""

from __future__ import annotations

import shutil

import pytest

OWN_AGENT = """
    name = "own"
    version = "1"
    api = "chat"
    executable = "no-such-program"
    [command]
    first = ["no-such-program"]
    next = ["no-such-program"]
    prompt = "stdin"
    [session]
    id = "chosen"
"""


def refused(project, result: pytest.RunResult, *lines: str) -> None:
    """Assert a usage error of one line, and that nothing was left behind."""
    assert result.ret == 4
    result.stderr.fnmatch_lines([*lines])
    assert len([line for line in result.stderr.lines if line.strip()]) == 1, result.stderr.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert project.runs() == []


def test_an_unknown_agent_is_told_which_there_are(project):
    project.write_tasks("say hello")
    refused(
        project,
        project.pytest("--agent", "nobody"),
        "ERROR: --agent: no agent is called 'nobody'; there are: *loop*; or give the path of an agent.toml",
    )
    result = project.pytest("--agent", "missing/agent.toml", "-n2")
    refused(project, result, "ERROR: --agent: missing/agent.toml: *No such file*")


def test_a_broken_agent_definition_names_file_and_key(project):
    project.write_shell_agent()
    path = project.path / "agents/shell/agent.toml"
    path.write_text(path.read_text().replace('prompt = "stdin"', 'prompt = "telepathy"'))
    refused(project, project.pytest("--agent", "shell"), "ERROR: --agent: *agents/shell/agent.toml: *telepathy*")


def test_a_model_without_an_upstream_is_told_two(project):
    result = project.capture("--model", "org/M")
    refused(project, result, "ERROR: --model needs *https://router.huggingface.co*http://127.0.0.1:8080*")


def test_an_upstream_that_does_not_answer_is_named(project):
    project.write_tasks("say hello")
    result = project.capture("--model", "m", "--upstream", "http://127.0.0.1:1/v1", "-n2")
    refused(project, result, "ERROR: agentcap: --upstream http://127.0.0.1:1/v1: no answer (*is the model server up?")


def test_an_upstream_that_refuses_the_key_says_where_the_key_came_from(project, monkeypatch, http_upstream):
    project.write_tasks("say hello")
    monkeypatch.setenv("AGENTCAP_API_KEY", "sk-refused-1234567")
    with http_upstream(lambda path: (401, b"{}")) as upstream:
        result = project.capture("--model", "m", "--upstream", upstream.url)
    refused(project, result, "ERROR: agentcap: --upstream *: answered 401 to the key from AGENTCAP_API_KEY")
    assert "sk-refused" not in result.stderr.str()


@pytest.fixture
def bare_path(project, monkeypatch):
    """A PATH with python3 and sh and nothing else."""
    folder = project.path / "bin"
    folder.mkdir()
    for name in ("python3", "sh", "env"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.usefixtures("bare_path")
def test_podman_and_agents_that_are_not_installed_are_named(project):
    project.write_tasks("say hello")
    refused(project, project.pytest("--agent", "loop"), "ERROR: agentcap: *podman*install*")
    project.write("agents/own/agent.toml", OWN_AGENT)
    result = project.pytest("--agent", "own", "--sandbox", "host")
    refused(
        project,
        result,
        "ERROR: agentcap: no-such-program is not on PATH: install it, or use --sandbox podman if it has an image",
    )


def test_a_workspace_that_cannot_be_written_is_named(project, monkeypatch):
    project.write_tasks("say hello")
    project.write("occupied", "a file")
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(project.path / "occupied"))
    refused(project, project.capture(), "ERROR: agentcap: *occupied*")
