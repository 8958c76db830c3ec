"""Rows of AgentTrace's format are published, and analyzed from the Hub as from the run."""

from __future__ import annotations

import json


def test_published_rows_tell_what_the_run_tells(hub, record, agentcap):
    run = record({"id": "a", "input": "python3 call hi"})
    assert agentcap("export", run.id, "--push", "me/base", "--no-scan").returncode == 0
    pushed = agentcap("export", run.id, "--format", "agenttrace", "--push", "me/rows", "--no-scan")
    assert pushed.returncode == 0, pushed.stderr
    assert not [path for path in hub.files("me/rows") if path.endswith(".parquet")]
    told = []
    for target in (run.id, "hf://datasets/me/base-captures", "hf://datasets/me/rows"):
        done = agentcap("analyze", target, "-f", "json")
        assert (done.returncode, done.stderr) == (0, "")
        told.append({**json.loads(done.stdout), "places": None})
    assert told[0] == told[1] == told[2]
    assert told[0]["total"]["sessions"] == 1
