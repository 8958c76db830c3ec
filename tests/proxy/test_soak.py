"""A tenth of `tools/bench/soak`: 64 clients that leave when they like, and a kill in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "tools" / "bench" / "soak"
CALLS = 1000
ENDINGS = {"complete", "client_gone", "shutdown"}


@pytest.mark.skipif(sys.platform != "linux", reason="the soak reads processor time and descriptors as Linux tells them")
def test_every_call_of_clients_that_leave_at_random_is_accounted_for(tmp_path):
    told = tmp_path / "soak.json"
    command = [sys.executable, str(SOAK), "--calls", str(CALLS), "--seed", "1", "--json", str(told)]
    done = subprocess.run([*command, "--captures", str(tmp_path / "soak")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(told.read_bytes())
    drained, killed = result["drained"], result["killed"]

    # The soak has looked into every file and judged its own figures; these show that it had something to judge.
    assert drained["faults"] == killed["faults"] == []
    assert drained["asked"] == CALLS
    assert CALLS > drained["recorded"] >= drained["reached"] > drained["finished"] > CALLS // 3
    assert drained["recorded"] == sum(drained["endings"].values())
    assert drained["endings"].keys() <= ENDINGS
    assert drained["endings"]["client_gone"] > 20
    assert len(drained["rest"]) == 5
    assert killed["journals"] == 1
    assert 0 < killed["reached"] <= killed["recorded"] < CALLS // 4
    assert killed["recorded"] == sum(killed["endings"].values()) + killed["unanswered"]
    assert (tmp_path / "soak" / "drained" / "captures").is_dir()
