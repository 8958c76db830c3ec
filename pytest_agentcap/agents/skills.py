"""A folder of skills, and where each agent looks for them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pytest_agentcap.sandbox.base import SandboxSession

_INSTRUCTIONS = "AGENTS.md"


def skill_names(folder: Path) -> list[str]:
    """Return the skills of a folder that is laid out as huggingface/skills is: `skills/<name>/SKILL.md`."""
    return sorted(path.parent.name for path in folder.glob("skills/*/SKILL.md"))


def provide_skills(
    box: SandboxSession, folder: Path, discovery: str, *, copied: bool, own_instructions: bool
) -> dict[str, bytes]:
    """Let an agent find each skill where it looks for them, and `agents/AGENTS.md` in its workspace.

    Skills are links to the folder that the sandbox shows, read-only where it isolates, or copies for an agent that
    follows no links. A workspace that has an AGENTS.md of its own keeps it. Returns the files that this puts into the
    workspace, links as text.
    """
    assert box.skills is not None
    names = skill_names(folder)
    if copied:
        for name in names:
            box.put_tree(folder / "skills" / name, f"{discovery}/{name}")
    else:
        with tempfile.TemporaryDirectory(prefix="agentcap-skills-") as place:
            for name in names:
                (Path(place) / name).symlink_to(f"{box.skills}/skills/{name}")
            box.put_tree(Path(place), discovery)
    if own_instructions or not (folder / "agents" / _INSTRUCTIONS).is_file():
        return {}
    target = f"{box.skills}/agents/{_INSTRUCTIONS}"
    with tempfile.TemporaryDirectory(prefix="agentcap-skills-") as place:
        (Path(place) / _INSTRUCTIONS).symlink_to(target)
        box.put_tree(Path(place), box.workspace)
    return {_INSTRUCTIONS: target.encode()}
