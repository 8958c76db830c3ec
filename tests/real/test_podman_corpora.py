"""Shipped corpora whose tasks need a container."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]


def test_tasks_over_the_tree_at_testdata_pass_and_their_answers_are_tested_in_a_sandbox(run_pytest, tmp_path: Path):
    # Every gold command is run without a container in tests/corpora; here it is where the tree is that counts.
    sample = ("--sample", "6", "--seed", "1")
    done = run_pytest(tmp_path, "--agent", "loop", *sample, "corpora/nl2bash", "corpora/mbpp")
    assert done.returncode == 0, done.stdout
    results = [json.loads(path.read_bytes()) for path in tmp_path.glob(".agentcap/*/results/*.json")]
    assert sorted(result["corpus"] for result in results) == ["mbpp"] * 6 + ["nl2bash"] * 6
    assert {result["verdict"] for result in results} == {"passed"}
