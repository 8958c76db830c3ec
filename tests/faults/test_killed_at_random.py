"""kill -9 of a controller or a worker at any moment, then --resume: every task is captured once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from xdist_workers import is_worker

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

TASKS = 8
OPTIONS = ("-p", "agentcap", "-p", "xdist", "--agent", "shell", "--sandbox", "host", "-n2", "-p", "no:cacheprovider")


def start(project, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *OPTIONS, *more, "prompts.jsonl"],
        cwd=project.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def kill_someone(project, controller: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Kill the controller or one of its workers, and see the controller end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(controller.pid)
        workers = [child for child in process.children() if is_worker(child, project.path)]
        victim = chance.choice([process, *workers])
        os.kill(victim.pid, signal.SIGKILL)
    controller.wait(120)


def test_whoever_is_killed_whenever_a_resumed_run_has_every_task_once(project):
    project.write_shell_agent()
    project.write_jsonl(*({"id": f"t{n}", "input": f"sleep 0.2; python3 call {n}; sleep 0.2"} for n in range(TASKS)))
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    controller = start(project)
    deadline = time.monotonic() + 60
    while not any(project.path.glob(".agentcap/*/results/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    [run] = project.runs()
    for _ in range(3):
        time.sleep(chance.uniform(0, 1.5))
        kill_someone(project, controller, chance)
        controller = start(project, "--resume", run.name)
    assert controller.wait(120) in (0, 1), f"seed {seed}"
    assert start(project, "--resume", run.name).wait(120) == 0, f"seed {seed}"
    assert project.runs() == [run]
    latest = {}
    for result in sorted(project.results(), key=lambda each: each["attempt"]):
        before = latest.get(result["task_id"])
        assert before is None or before["verdict"] in (None, "infra"), f"seed {seed}: what stood ran again"
        latest[result["task_id"]] = result
    assert sorted(latest) == [f"t{n}" for n in range(TASKS)]
    assert {(result["verdict"], result["reason"]) for result in latest.values()} == {("captured", None)}, f"seed {seed}"
    for result in latest.values():
        [rid] = result["request_ids"]
        request = json.loads((run / f"captures/{rid}.request.json").read_bytes())
        assert (request["task_id"], request["attempt"]) == (result["task_id"], result["attempt"])
        assert json.loads((run / f"captures/{rid}.response.json").read_bytes())["complete"], f"seed {seed}"
    assert not list(run.glob("captures/*.journal"))
