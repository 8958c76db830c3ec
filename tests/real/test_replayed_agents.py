"""Agents against what they were recorded with: no model, no key, and every byte and piece as it was.

The recordings are of `recorded/`, made in podman with the scripted model. After a new version of an agent they are made
again: run the corpus with the agent, and copy its captures.parquet to `recorded/recordings/`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

CORPUS = Path(__file__).parent / "recorded"
RECORDINGS = CORPUS / "recordings"
SAME = ("task_id", "turn", "status_code", "stream", "response", "response_headers", "chunk_bytes", "prompt_tokens")
AGENTS = ("pi", "opencode")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


@pytest.fixture(scope="module")
def replayed(
    run_pytest: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """One replay of both agents; the run directory of each."""
    workspace = tmp_path_factory.mktemp("replayed")
    words = [word for agent in AGENTS for word in ("--agent", agent)]
    done = run_pytest(workspace, str(CORPUS), *words, "--upstream", f"replay:{RECORDINGS}")
    assert done.returncode == 0, done.stdout + done.stderr
    return {agent: next((workspace / ".agentcap").glob(f"{agent}-replay-*")) for agent in AGENTS}


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_is_served_what_was_recorded_byte_for_byte_and_piece_for_piece(replayed, agent):
    recorded = {row["request_id"]: row for row in rows_of(RECORDINGS / f"{agent}.parquet")}
    rows = rows_of(replayed[agent] / "captures.parquet")
    assert sorted(row["replayed_from"] for row in rows) == sorted(recorded), "every recorded call, once"
    for row in rows:
        source = recorded[row["replayed_from"]]
        assert {name: row[name] for name in SAME} == {name: source[name] for name in SAME}


@pytest.mark.parametrize("agent", AGENTS)
def test_a_replayed_agent_does_its_work_again(replayed, agent):
    results = [json.loads(path.read_bytes()) for path in sorted(replayed[agent].glob("results/*.json"))]
    ended = [(result["task_id"], result["verdict"]) for result in results]
    assert ended == [("count", "captured"), ("where", "captured")]
    assert [result["changed_files"] for result in results] == [2, 1]
    assert all("by the model" not in result["notes"][0] for result in results)


@pytest.mark.parametrize("agent", AGENTS)
def test_the_shipped_recordings_are_small(agent):
    assert (RECORDINGS / f"{agent}.parquet").stat().st_size < 100_000
