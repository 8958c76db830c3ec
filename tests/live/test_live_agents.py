"""Every agent against a real model: that calls are made, captured, streamed and chained, never what is said in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from live_server import ModelServer
from tested import goes_on, keeps_traces, log_tested, read_calls

from pytest_agentcap.agents.spec import AgentSpec, read_agent
from pytest_agentcap.conversation.model import Call
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import read_result

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("live")]

REPOSITORY = Path(__file__).parents[2]
AGENTS = tuple(sorted(path.parent.name for path in REPOSITORY.glob("agents/*/agent.toml")))
# These ask for whole answers.
UNSTREAMED = ("mini", "openhands")
# Its image would download a program whose address no test depends on.
HOST_ONLY = ("goose",)
SANDBOX = "AGENTCAP_TEST_SANDBOX"
TURN_S = 1200


@dataclass(frozen=True)
class Live:
    """What one agent's run against the server left: its only session's result, and its calls in their order."""

    agent: AgentSpec
    run: RunDirectory
    result: dict[str, Any]
    calls: list[Call]
    output: str


def sandbox_for(agent: AgentSpec) -> str:
    """Choose podman where it is, else this machine if the agent is installed; else the test is skipped."""
    wanted = os.environ.get(SANDBOX)
    if wanted != "host" and agent.name not in HOST_ONLY and shutil.which("podman"):
        return "podman"
    if wanted != "podman" and shutil.which(agent.executable):
        return "host"
    pytest.skip(f"{agent.name}: neither can podman run it nor is {agent.executable} on PATH")


@pytest.fixture(scope="module", params=AGENTS)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Live:
    """Run one agent over one task of two turns; the tests below look at what came of it."""
    agent = read_agent(REPOSITORY / "agents" / request.param / "agent.toml")
    sandbox = sandbox_for(agent)
    if not model_server.speaks(agent.api):
        pytest.skip(f"{model_server.url} does not have the API {agent.api!r}, which {agent.name} speaks")
    workspace = tmp_path_factory.mktemp(agent.name)
    turns = "2" if agent.command.next else "1"
    wanted = ["--agent", agent.name, "--sandbox", sandbox, "--turns", turns, "--turn-timeout", str(TURN_S)]
    wanted += ["--model", model_server.model, "--upstream", model_server.url]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "agentcap", "tests/live/tasks", *wanted],
        cwd=REPOSITORY,
        env={**os.environ, "AGENTCAP_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout + done.stderr
    runs = [RunDirectory(path.parent) for path in workspace.glob(".agentcap/*/run.json")]
    assert len(runs) == 1, said
    log_tested(agent, runs[0], scripted=model_server.scripted)
    (result,) = [read_result(path) for path in runs[0].results.glob("*.json")]
    return Live(agent, runs[0], result, read_calls(runs[0]), said)


def test_a_session_is_not_broken_by_the_infrastructure(live: Live) -> None:
    assert live.result["verdict"] not in (None, "infra", "no_calls"), live.output
    assert live.result["calls"] > 0


def test_every_call_is_captured_whole_and_is_in_the_parquet(live: Live) -> None:
    assert live.agent.api in {call.api for call in live.calls}
    assert all(call.record.response is not None and call.record.faulty is None for call in live.calls)
    assert any(call.record.integer("status_code") == 200 for call in live.calls)
    rows = pq.read_table(live.run.parquet, columns=["request_id"]).to_pylist()
    assert {row["request_id"] for row in rows} == {call.rid for call in live.calls}
    assert not list(live.run.captures.glob("*.journal"))


def test_answers_are_streamed(live: Live) -> None:
    if live.agent.name in UNSTREAMED:
        pytest.skip(f"{live.agent.name} asks for whole answers")
    streams = [call.record.response for call in live.calls if call.record.facts.get("stream")]
    assert any(half is not None and half.key == "raw" and half.text for half in streams)


def test_a_tool_call_is_chained(live: Live) -> None:
    """A call of a tool that the model asked for is in a later request, with what it gave back."""
    asked = [call for call in live.calls if call.answer and call.answer.message and call.answer.message.tool_calls]
    assert asked, "the model asked for no tool: does its chat template have them, and is it large enough?"
    assert any(carries_a_result(call) for call in live.calls)


def test_the_second_turn_carries_the_first(live: Live) -> None:
    if not live.agent.command.next:
        pytest.skip(f"{live.agent.name} cannot go on with a session")
    assert live.result["turns"][0]["returncode"] == 0, live.output
    assert goes_on([live.result], live.calls)


def test_the_agents_own_log_is_kept(live: Live) -> None:
    if not (live.agent.trace.paths or live.agent.trace.export):
        pytest.skip(f"{live.agent.name} keeps no log")
    assert keeps_traces(live.run, [live.result])


def carries_a_result(call: Call) -> bool:
    """Tell whether a request has a tool call together with its result; some agents give calls ids of their own."""
    called = {each.id for message in call.request.messages for each in message.tool_calls}
    given = {part.call_id for message in call.request.messages for part in message.tool_results}
    return bool(called & given)
