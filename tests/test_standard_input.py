from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

TASKS = [{"id": "a", "input": "say a"}, {"input": "say b"}]
JSONL = "".join(json.dumps(task) + "\n" for task in TASKS)
LOOP = ("-p", "agentcap", "--agent", "loop", "--sandbox", "host")


def pipe(project: Any, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *LOOP, *options]
    return subprocess.run(command, cwd=project.path, input=text, capture_output=True, text=True)


def test_a_piped_corpus_is_run_by_all_workers_and_again_by_its_node_ids(project):
    done = pipe(project, JSONL, "-p", "xdist", "-n2", "-")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True)
    assert {result["corpus"] for result in project.results()} == {"stdin"}
    [nodeid] = [result["nodeid"] for result in project.results() if result["task_id"] == "a"]
    assert nodeid.startswith(".agentcap/stdin/")
    project.pytest(*LOOP[2:], nodeid).assert_outcomes(passed=1)


def test_the_same_corpus_has_the_same_ids(project):
    listed = [pipe(project, JSONL, "--collect-only", "-q", "-").stdout.splitlines()[:2] for _ in range(2)]
    assert listed[0] == listed[1]
    assert all("::test_task[loop-scripted-" in line for line in listed[0])


@pytest.mark.parametrize(("text", "status", "said"), [("", 4, "standard input is empty"), ("{]\n", 2, ":1: not valid")])
def test_what_is_no_corpus_is_one_line(project, text, status, said):
    done = pipe(project, text, "-")
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
