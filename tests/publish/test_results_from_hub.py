"""Results are read from a dataset on the Hub as from the run that was published."""

from __future__ import annotations

import json


def test_a_published_run_gives_the_same_rows(hub, record, agentcap):
    run = record({"id": "a", "input": "python3 call hi"}, {"id": "b", "input": "python3 call there"})
    assert agentcap("export", run.id, "--push", "me/base", "--no-scan").returncode == 0
    there = agentcap("summarize", "hf://datasets/me/base-captures")
    here = agentcap("summarize", run.id)
    assert (there.returncode, there.stderr) == (0, "")
    rows = [[json.loads(line) for line in done.stdout.splitlines()] for done in (there, here)]
    told = [[(row["id"], row["toolCalls"]) for row in each] for each in rows]
    assert told[0] == told[1] == [("a", []), ("b", [])]
