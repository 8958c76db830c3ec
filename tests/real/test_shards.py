"""Three shards as processes of their own, as three machines would run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.cli import main

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

TASKS = 9
COLUMNS = ["task_id", "trial", "attempt", "call_index", "request", "verdict", "run_id"]


class Shards:
    """Start pytest for one shard after another, none waiting for the other."""

    def __init__(self, project) -> None:
        self._project = project
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pytest", "-p", "agentcap", "-p", "xdist", "-p", "no:cacheprovider", "-q"]
        with (self._project.path / f"output-{len(self.started)}").open("wb") as output:
            process = subprocess.Popen(
                [*command, "--agent", "shell", "--sandbox", "host", *words],
                cwd=self._project.path,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def shards(project) -> Iterator[Shards]:
    project.write_shell_agent()
    shards = Shards(project)
    yield shards
    shards.end()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def calls(path: Path) -> list[tuple]:
    rows = pq.read_table(path, columns=COLUMNS).to_pylist()
    return sorted((row["task_id"], row["trial"], row["call_index"], row["request"], row["verdict"]) for row in rows)


def test_shards_of_which_one_is_killed_and_run_again_are_the_unsharded_run(project, shards, monkeypatch, capsys):
    # Each session makes a call, waits at a gate, and makes another.
    script = "python3 call {0} one; until [ -e {1} ]; do sleep 0.05; done; python3 call {0} two"
    gate = project.path / "gate"
    project.write_jsonl(*({"id": f"t{n}", "input": script.format(n, gate)} for n in range(TASKS)))
    monkeypatch.chdir(project.path)

    parts = {index: shards.start("--shard", f"{index}/3") for index in (1, 2, 3)}
    until(lambda: sum(path.stat().st_size > 0 for path in project.path.glob(".agentcap/*/sessions/*.out")) == 3)
    os.kill(parts[2].pid, signal.SIGKILL)
    gate.touch()
    assert [parts[index].wait() for index in (1, 3)] == [0, 0]

    assert main(["merge", "."]) == 1
    said = capsys.readouterr()
    assert "agentcap: run again: shard 2/3" in said.err
    assert "agentcap: infra: prompts.jsonl::test_task[shell-scripted-t" in said.err

    assert shards.start("--shard", "2/3", "-n2").wait() == 0
    assert main(["merge", ".", "-o", "union.parquet", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out.rpartition("]")[0] + "]")
    assert (told["expected"], len(told["done"]), len(told["runs"])) == (TASKS, TASKS, 4)

    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(project.path / "whole"))
    assert shards.start().wait() == 0
    [whole] = project.path.glob("whole/.agentcap/*/captures.parquet")
    assert calls(Path("union.parquet")) == calls(whole)
    monkeypatch.delenv("AGENTCAP_WORKSPACE")

    # With all attempts, what the killed shard captured is there too, and nothing is there twice.
    assert main(["merge", ".", "-o", "all.parquet", "--all-attempts"]) == 0
    rows = pq.read_table("all.parquet", columns=COLUMNS).to_pylist()
    keys = [(row["task_id"], row["trial"], row["attempt"], row["call_index"]) for row in rows]
    assert len(set(keys)) == len(keys) == 2 * TASKS + 1
    assert [row["verdict"] for row in rows if row["attempt"] == 1].count("infra") == 1
    assert len([row for row in rows if row["attempt"] == 2]) == 2


def test_shards_under_replay_have_the_very_answers_of_the_unsharded_run(project, shards, monkeypatch):
    project.write_jsonl(*({"id": f"t{n}", "input": f"python3 call {n} one; python3 call {n} two"} for n in range(6)))
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(project.path / "whole"))
    assert shards.start().wait() == 0
    [whole] = project.path.glob("whole/.agentcap/*/")
    monkeypatch.delenv("AGENTCAP_WORKSPACE")
    replayed = ("--model", "scripted", "--upstream", f"replay:{whole}")
    parts = [shards.start("--shard", f"{index}/2", *replayed) for index in (1, 2)]
    assert [part.wait() for part in parts] == [0, 0]
    assert main(["merge", "--all", "-o", "union.parquet"]) == 0
    columns = ["task_id", "call_index", "request", "response"]
    union, recorded = (
        sorted(tuple(row.values()) for row in pq.read_table(path, columns=columns).to_pylist())
        for path in (Path("union.parquet"), whole / "captures.parquet")
    )
    assert len(union) == 12
    assert union == recorded
