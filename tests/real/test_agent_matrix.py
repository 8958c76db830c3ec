"""The agents that people use most, in podman, locked in, two turns each, over the quickstart corpus."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tested import log_tested

from pytest_agentcap.agents.spec import read_agent
from pytest_agentcap.runs.layout import RunDirectory

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

RunPytest = Callable[..., subprocess.CompletedProcess[str]]

FOLDER = Path(__file__).parents[2] / "agents"
MATRIX = ("loop", "pi", "opencode", "hermes", "codex", "claude", "qwen")
AGENTS = tuple(name for name in MATRIX if (FOLDER / name / "agent.toml").is_file())
NAMED = tuple(word for name in AGENTS for word in ("--agent", name))
TASKS = 2


@dataclass(frozen=True)
class AgentRun:
    """One agent's run on disk, with what its sessions became; `calls` are a session's requests in their order."""

    path: Path
    results: list[dict[str, Any]]
    calls: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> AgentRun:
        requests = [json.loads(file.read_bytes()) for file in path.glob("captures/*.request.json")]
        calls: dict[str, list[dict[str, Any]]] = {}
        for request in sorted(requests, key=lambda each: each["call_index"]):
            calls.setdefault(request["session"], []).append(request)
        return cls(path, [json.loads(file.read_bytes()) for file in sorted(path.glob("results/*.json"))], calls)


def runs_by_agent(workspace: Path) -> dict[str, AgentRun]:
    found = [AgentRun.read(path.parent) for path in workspace.glob(".agentcap/*/run.json")]
    return {run.results[0]["agent"]: run for run in found if run.results}


def said(body: dict[str, Any], role: str) -> Iterator[str]:
    """Yield every text of one role in a request of any API."""
    for message in body.get("messages") or body.get("input") or []:
        if message.get("role") == role:
            content = message.get("content") or []
            yield from [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]


def answers_in(body: dict[str, Any]) -> int:
    """Count the model's own messages and tool calls that a request carries."""
    items = body.get("messages") or body.get("input") or []
    return sum(item.get("role") == "assistant" or item.get("type") == "function_call" for item in items)


def main_calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what names a session or looks for things to remember: such calls offer no tools, or fewer."""
    most = max(len(call["body"].get("tools") or ()) for call in calls)
    return [call for call in calls if len(call["body"].get("tools") or ()) == most]


def the_log(agent: str, run: AgentRun, session: str) -> str:
    """Return the text of a session's own log; a test of an agent that keeps none stops here."""
    spec = read_agent(FOLDER / agent / "agent.toml")
    if not spec.trace.paths and not spec.trace.export:
        pytest.skip(f"{agent} keeps no log")
    files = [file for file in (run.path / "traces" / session).rglob("*") if file.is_file()]
    return "\n".join(file.read_text("utf-8", "replace") for file in files)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory, run_pytest: RunPytest) -> tuple[dict[str, AgentRun], str]:
    """Run all agents once; the tests below look at what came of it, agent by agent."""
    workspace = tmp_path_factory.mktemp("matrix")
    done = run_pytest(workspace, "corpora/quickstart", *NAMED, "--turns", "2", "--limit", str(TASKS))
    assert done.returncode in (0, 1), done.stdout + done.stderr
    runs = runs_by_agent(workspace)
    for name, run in runs.items():
        log_tested(read_agent(FOLDER / name / "agent.toml"), RunDirectory(run.path), scripted=True)
    return runs, done.stdout


@pytest.mark.parametrize("agent", AGENTS)
def test_every_task_passes_in_two_turns(matrix: tuple[dict[str, AgentRun], str], agent: str) -> None:
    runs, output = matrix
    assert [(each["verdict"], each["completed_turns"]) for each in runs[agent].results] == [("passed", 2)] * TASKS, (
        output
    )
    assert all(turn["reply"] for each in runs[agent].results for turn in each["turns"])
    assert all(each["session_id"] for each in runs[agent].results)


@pytest.mark.parametrize("agent", AGENTS)
def test_the_prompt_travels_verbatim(matrix: tuple[dict[str, AgentRun], str], agent: str) -> None:
    run = matrix[0][agent]
    for result in run.results:
        first = main_calls(run.calls[result["session"]])[0]
        assert any(result["prompt"] in text for text in said(first["body"], "user"))


@pytest.mark.parametrize("agent", AGENTS)
def test_the_second_turn_carries_the_first(matrix: tuple[dict[str, AgentRun], str], agent: str) -> None:
    run = matrix[0][agent]
    for result in run.results:
        second = next(call["body"] for call in main_calls(run.calls[result["session"]]) if call["turn"] == 2)
        first = result["turns"][0]
        assert any(first["prompt"] in text for text in said(second, "user"))
        assert any(first["reply"] in text for text in said(second, "assistant"))
        assert list(said(second, "user"))[-1].strip().endswith(result["turns"][1]["prompt"])


@pytest.mark.parametrize("agent", AGENTS)
def test_every_call_is_captured_whole_and_names_the_model(matrix: tuple[dict[str, AgentRun], str], agent: str) -> None:
    run = matrix[0][agent]
    rows = pq.read_table(run.path / "captures.parquet").to_pylist()
    assert {(row["status_code"], row["complete"]) for row in rows} == {(200, True)}
    assert {call["body"]["model"] for calls in run.calls.values() for call in calls} == {"scripted"}
    for calls in run.calls.values():
        main = [call["body"] for call in main_calls(calls)]
        # What the model answered stands in the last request: no call went past the proxy.
        assert answers_in(main[-1]) == len(main) - 1
    assert not list((run.path / "captures").glob("*.journal"))


@pytest.mark.parametrize("agent", AGENTS)
def test_every_session_leaves_its_own_log(matrix: tuple[dict[str, AgentRun], str], agent: str) -> None:
    run = matrix[0][agent]
    for result in run.results:
        log = the_log(agent, run, result["session"])
        for turn in result["turns"]:
            assert json.dumps(turn["reply"])[1:-1] in log or turn["reply"] in log


@pytest.mark.parametrize("agent", AGENTS)
def test_no_file_of_a_run_holds_a_secret(
    matrix: tuple[dict[str, AgentRun], str], agent: str, secrets: tuple[str, ...]
) -> None:
    files = [file for file in matrix[0][agent].path.rglob("*") if file.is_file()]
    assert [file for file in files if any(secret.encode() in file.read_bytes() for secret in secrets)] == []


@pytest.fixture(scope="module")
def refused(
    tmp_path_factory: pytest.TempPathFactory, run_pytest: RunPytest, http_upstream: Callable[..., Any]
) -> dict[str, AgentRun]:
    """Run all agents against a model server that refuses every request, once: no agent tries that again."""
    workspace = tmp_path_factory.mktemp("refused")
    refusal = {"type": "invalid_request_error", "message": "this model does not exist"}

    def answer(path: str) -> tuple[int, bytes]:
        if path.endswith("/models"):
            return 200, b'{"object": "list", "data": []}'
        return 400, json.dumps({"type": "error", "error": refusal}).encode()

    with http_upstream(answer) as upstream:
        run_pytest(
            workspace, "corpora/quickstart", *NAMED, "--limit", "1", "--model", "m", "--upstream", f"{upstream.url}/v1"
        )
    return runs_by_agent(workspace)


@pytest.mark.parametrize("agent", AGENTS)
def test_a_turn_that_failed_leaves_its_log_and_its_captures(refused: dict[str, AgentRun], agent: str) -> None:
    run = refused[agent]
    (result,) = run.results
    assert result["verdict"] not in ("passed", "captured")
    assert result["calls"] == len(run.calls[result["session"]]) > 0
    assert result["prompt"].split("\n")[0] in the_log(agent, run, result["session"])
