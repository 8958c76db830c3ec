"""Agents that are installed on this machine, run over the quickstart corpus with the scripted model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tested import log_tested

from pytest_agentcap.agents.spec import AgentSpec, read_agent
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.shipped import packaged

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

REPOSITORY = Path(__file__).parents[2]
RESUMING = ("continue", "gemini", "openhands", "vibe")
AGENTS = (*RESUMING, "mini")
TASKS = 2


@dataclass(frozen=True)
class Captured:
    """What one run left: its results and its calls in the order in which they were made."""

    agent: AgentSpec
    run: Path
    results: list[dict[str, Any]]
    calls: list[dict[str, Any]]

    @property
    def turns(self) -> int:
        return 2 if self.agent.name in RESUMING else 1

    def of_turn(self, task: str, turn: int) -> list[dict[str, Any]]:
        return [call for call in self.calls if (call["task_id"], call["turn"]) == (task, turn)]


@pytest.fixture(scope="module", params=AGENTS)
def captured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], None]
) -> Captured:
    agent = read_agent(packaged("agents") / request.param / "agent.toml")
    need(agent.executable)
    workspace = tmp_path_factory.mktemp(agent.name)
    turns = 2 if agent.name in RESUMING else 1
    wanted = ["--agent", agent.name, "--sandbox", "host", "--limit", str(TASKS), "--turns", str(turns)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "agentcap", "corpora/quickstart", *wanted, "--turn-timeout", "240"],
        cwd=REPOSITORY,
        env={**os.environ, "AGENTCAP_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (workspace / ".agentcap").glob(f"{agent.name}-scripted-*")
    log_tested(agent, RunDirectory(run), scripted=True)
    calls = [json.loads(path.read_bytes()) for path in run.glob("captures/*.request.json")]
    results = [json.loads(path.read_bytes()) for path in run.glob("results/*.json")]
    return Captured(agent, run, results, sorted(calls, key=lambda call: call["started_at_ns"]))


def test_every_task_passes_in_as_many_turns_as_were_asked_for(captured: Captured) -> None:
    assert [result["verdict"] for result in captured.results] == ["passed"] * TASKS
    assert [len(result["turns"]) for result in captured.results] == [captured.turns] * TASKS


def test_every_turn_ends_with_the_models_last_words(captured: Captured) -> None:
    replies = [turn["reply"] for result in captured.results for turn in result["turns"]]
    assert len(replies) == TASKS * captured.turns
    for reply in replies:
        assert reply.startswith("Done, steps run: "), replies
        assert "\n" not in reply


def test_calls_are_captured_whole_in_the_agents_api_with_token_counts(captured: Captured) -> None:
    assert {call["api"] for call in captured.calls} == {captured.agent.api}
    responses = [json.loads(path.read_bytes()) for path in captured.run.glob("captures/*.response.json")]
    assert len(responses) == len(captured.calls)
    assert {(response["status_code"], response["complete"]) for response in responses} == {(200, True)}
    for result in captured.results:
        assert result["prompt_tokens"] > 0 < result["completion_tokens"]
        assert len(captured.of_turn(result["task_id"], 1)) >= 3


@pytest.mark.parametrize("captured", RESUMING, indirect=True)
def test_the_second_turn_carries_the_first(captured: Captured) -> None:
    for result in captured.results:
        (last,) = captured.of_turn(result["task_id"], 2)[-1:]
        body = json.dumps(last["body"])
        assert json.dumps(result["turns"][0]["reply"]) in body
        first_line = result["prompt"].split("\n")[0]
        assert json.dumps(first_line)[1:-1] in body


def test_the_agents_own_log_is_kept(captured: Captured) -> None:
    for result in captured.results:
        files = [path for path in captured.run.glob(f"traces/{result['session']}/**/*") if path.is_file()]
        texts = "".join(path.read_text("utf-8", "replace") for path in files)
        assert "Done, steps run: " in texts, files
