from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_agentcap.agents.skills import provide_skills
from pytest_agentcap.sandbox.base import SandboxOptions
from pytest_agentcap.sandbox.egress import ClosedDoor
from pytest_agentcap.sandbox.host import HostSandbox, HostSession
from pytest_agentcap.sandbox.reaper import Owner


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for name in ("bundle/skills/greet/SKILL.md", "bundle/skills/greet/scripts/hello.sh", "bundle/agents/AGENTS.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    return tmp_path / "bundle"


@pytest.fixture
def box(tmp_path: Path, bundle: Path) -> Iterator[HostSession]:
    session = HostSandbox(None, Owner.claim(tmp_path)).start("a", ClosedDoor(), SandboxOptions(skills=bundle))
    yield session
    session.close()


@pytest.mark.parametrize("copied", [False, True])
def test_a_skill_is_a_link_or_a_copy_where_the_agent_looks(box: HostSession, bundle: Path, copied: bool) -> None:
    discovery = f"{box.home}/.agent/skills"
    added = provide_skills(box, bundle, discovery, copied=copied, own=[])
    skill = Path(discovery, "greet")
    assert skill.is_symlink() is not copied
    assert sorted(path.name for path in skill.iterdir()) == ["SKILL.md", "scripts"]
    assert (skill / "scripts/hello.sh").read_text() == "bundle/skills/greet/scripts/hello.sh\n"
    assert Path(box.workspace, "AGENTS.md").read_text() == "bundle/agents/AGENTS.md\n"
    assert Path(box.workspace, "skills/greet/SKILL.md").is_file(), "the catalogue names it by this path"
    assert added == {"AGENTS.md": f"{bundle}/agents/AGENTS.md".encode(), "skills": f"{bundle}/skills".encode()}


def test_a_workspace_with_instructions_of_its_own_keeps_them(box: HostSession, bundle: Path) -> None:
    assert provide_skills(box, bundle, f"{box.home}/skills", copied=False, own=["AGENTS.md"]) == {}
    assert not Path(box.workspace, "AGENTS.md").exists()


def test_a_workspace_with_skills_of_its_own_keeps_them(box: HostSession, bundle: Path) -> None:
    added = provide_skills(box, bundle, f"{box.home}/skills", copied=False, own=["skills"])
    assert list(added) == ["AGENTS.md"]
    assert not Path(box.workspace, "skills").exists()
