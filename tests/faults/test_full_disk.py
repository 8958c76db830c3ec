"""A disk that is full in the middle of a run, and the run taken up again when there is space."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PYTEST = f"{sys.executable} -m pytest -p agentcap -p no:cacheprovider --agent shell --sandbox host"
# What is in a mount of its own is gone with the shell that made it.
SCRIPT = f"""
mount -t tmpfs -o size=1m tmpfs small || exit 77
{PYTEST}; echo status $?; cp -r small full
rm small/.agentcap/*/sessions/fills*; touch space
{PYTEST} --resume $(ls small/.agentcap); echo status $?; cp -r small mended
"""


def test_a_full_disk_fails_the_sessions_it_hits_and_keeps_the_rest_which_is_gone_on_with(project):
    project.write_shell_agent()
    project.write_jsonl(
        {"id": "before", "input": "python3 call hi"},
        {"id": "fills", "input": f"[ -e {project.path}/space ] || head -c 3000000 /dev/zero; python3 call hi"},
        {"id": "after", "input": "python3 call hi"},
    )
    (project.path / "small").mkdir()
    try:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", SCRIPT],
            env={**os.environ, "AGENTCAP_WORKSPACE": "small"},
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("a small file system cannot be made: unshare is not installed")
    if done.returncode in (1, 77):
        pytest.skip(f"a small file system cannot be made: {done.stderr.strip()}")
    pytest.LineMatcher(done.stdout.splitlines()).fnmatch_lines(
        [
            "*cannot be written: No space left on device: free some space",
            "shell  scripted * infra*",
            "ERROR *No space left on device*",
            "*the captures are kept; try again with: *agentcap export *",
            "* failed, 1 passed*",
            "status 1",
            "agentcap: resume *: 1 sessions stand and are deselected, *",
            "shell  scripted      3         3      3 *  3 captured",
            "*2 passed, 1 deselected*",
            "status 0",
        ]
    )
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for state in ("full", "mended"):
        [run] = (project.path / state / ".agentcap").glob("*/")
        for path in run.rglob("*.json"):
            json.loads(path.read_bytes())
        assert not [path for path in run.rglob(".*") if path.is_file()]
    first, last = (
        {path.name for path in project.path.glob(f"{state}/.agentcap/*/captures/*.json")}
        for state in ("full", "mended")
    )
    assert len(first) >= 2
    assert first < last
