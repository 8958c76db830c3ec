"""Agents that do what no agent should: leave daemons behind, and talk without end."""

from __future__ import annotations

import json

import psutil

from pytest_agentcap.cli import main

DAEMONS = """
python3 call hi
setsid sh -c 'trap "" TERM; sleep 98741' & (setsid nohup sleep 98742 >/dev/null 2>&1 &)
python3 -c 'import os, time; os.fork() or (os.setsid(), os.fork() or time.sleep(98743))' &
"""
LOG = "python3 call hi; head -c 200000000 /dev/zero | tr '\\0' x; echo; echo done"
ENDLESS = "python3 call hi; while true; do head -c 1000000 /dev/zero; done"


def sleepers() -> list[str]:
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if "9874" in line and "head" not in line]


def test_daemons_long_logs_and_endless_ones_harm_neither_captures_nor_what_comes_next(project, monkeypatch):
    project.write_shell_agent()
    project.write_jsonl(
        {"id": "daemons", "input": DAEMONS},
        {"id": "endless", "input": ENDLESS},
        {"id": "log", "input": LOG},
        {"id": "next", "input": "python3 call hi"},
    )
    project.pytest("--agent", "shell", "--sandbox", "host", "--disk", "300m").assert_outcomes(passed=3, failed=1)
    results = {result["session"]: result for result in project.results()}
    assert {name: result["verdict"] for name, result in results.items()} == {
        "daemons": "captured",
        "endless": "limit",
        "log": "captured",
        "next": "captured",
    }
    assert results["endless"]["reason"].startswith("turn 1: the disk limit of 300m was exceeded: the output has 3")
    assert results["log"]["turns"][0]["reply"].endswith("done")
    [run] = project.runs()
    assert len(list(run.glob("captures/*.response.json"))) == 4
    assert all(path.stat().st_size < 34 << 20 for path in run.glob("sessions/*"))
    assert sleepers() == []
    monkeypatch.chdir(project.path)
    assert main(["merge", run.name]) == 0
    assert json.loads((run / "run.json").read_bytes())["tasks"][2]["verdict"] == "captured"
