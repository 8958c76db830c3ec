"""Shards that push for themselves, all at once, to a Hub that lets others come first."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

ANSWER = json.dumps({"choices": [{"message": {"role": "assistant", "content": "hello"}}]}).encode()
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "agentcap", "-p", "no:cacheprovider")
SHARDS = 3


@pytest.mark.real
@pytest.mark.xdist_group("real")
def test_shards_that_push_at_once_all_land(hub, project, http_upstream, agentcap):
    project.write_shell_agent()
    project.write_jsonl(*({"id": f"t{n}", "input": f"python3 call {n}"} for n in range(9)))
    hub.fail(r"POST .*/commit/", 412, times=5)
    with http_upstream(lambda path: (200, ANSWER)) as upstream:
        told = ("--agent", "shell", "--sandbox", "host", "--model", "m", "--upstream", upstream.url)
        push = ("--push", "me/demo", "--no-scan")
        started = [
            subprocess.Popen(
                [*PYTEST, *told, *push, "--shard", f"{index}/{SHARDS}"],
                cwd=project.path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for index in range(1, SHARDS + 1)
        ]
        for process in started:
            output, _ = process.communicate()
            assert process.returncode == 0, output.decode()
    files = hub.files("me/demo-captures")
    parquets = [content for path, content in files.items() if path.endswith(".parquet")]
    assert len(parquets) == SHARDS
    rows = [row for content in parquets for row in pq.read_table(io.BytesIO(content)).to_pylist()]
    assert sorted(row["task_id"] for row in rows) == [f"t{n}" for n in range(9)]
    traces = [path for path in hub.files("me/demo-shell-traces") if path.startswith("data/")]
    assert len(traces) == 9

    # The card sums up what was there when it was written, which is what the last push is for.
    assert "| 9 | 9 |" not in files["README.md"].decode()
    assert agentcap("export", project.runs()[0].name, "--push", "me/demo", "--no-scan").returncode == 0
    after = hub.files("me/demo-captures")
    assert "| 9 | 9 |" in after["README.md"].decode()
    assert {path: after[path] for path in files if path != "README.md"} == {
        path: content for path, content in files.items() if path != "README.md"
    }
