"""What pi and opencode leave when they are cut off, and the skills that they find."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

TRACES = """
from pytest_agentcap.corpus.task import Task


def test_slow(agent_session):
    sleeps = "echo begun > begun.txt; sleep 600"
    task = Task("slow", ("take your time",), "slow", 1, "here", timeout_s=90, references=(sleeps,))
    outcome = agent_session.run(task)
    assert (outcome.verdict, outcome.turns[-1].timed_out) == ("agent_timeout", True)


def test_skill(agent_session):
    agent_session.run("say hello").check()
"""
SKILL = "---\nname: kingfisher-lore\ndescription: Knows all about kingfishers.\n---\n\nThey dive.\n"


def test_a_turn_that_took_too_long_has_its_trace_and_skills_are_found(
    tmp_path: Path, run_pytest: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "test_traces.py").write_text(TRACES)
    (tmp_path / "bundle/skills/kingfisher-lore").mkdir(parents=True)
    (tmp_path / "bundle/skills/kingfisher-lore/SKILL.md").write_text(SKILL)
    options = ("--agent", "pi", "--agent", "opencode", "--skills", "bundle")
    done = run_pytest(tmp_path, "test_traces.py", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for run in sorted((tmp_path / ".agentcap").glob("*-scripted-*")):
        for session in ("test_slow", "test_skill"):
            traces = [path for path in run.glob(f"traces/{session}/*") if path.stat().st_size]
            assert traces, (run / f"results/{session}.json").read_text()
        calls = [path.read_text() for path in run.glob("captures/*.request.json")]
        assert any("kingfisher-lore" in call for call in calls), run.name
