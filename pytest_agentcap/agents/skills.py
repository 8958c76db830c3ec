"""A folder of skills, and where each agent looks for them."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

from pytest_agentcap.sandbox.base import SandboxSession

_INSTRUCTIONS = "AGENTS.md"
_SKILLS = "skills"


def skill_names(folder: Path) -> list[str]:
    """Return the skills of a folder that is laid out as huggingface/skills is: `skills/<name>/SKILL.md`."""
    return sorted(path.parent.name for path in folder.glob("skills/*/SKILL.md"))


def provide_skills(
    box: SandboxSession, folder: Path, discovery: str, *, copied: bool, own: Collection[str]
) -> dict[str, bytes]:
    """Let an agent find each skill where it looks for them, and in its workspace AGENTS.md with the skills it names.

    Skills are links to the folder that the sandbox shows, read-only where it isolates, or copies for an agent that
    follows no links. `own` is what the workspace has: an AGENTS.md of its own stays, and so do skills of its own.
    Returns the files that this puts into the workspace, links as text.
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
    if _INSTRUCTIONS in own or not (folder / "agents" / _INSTRUCTIONS).is_file():
        return {}
    # The catalogue of huggingface/skills names each skill by its path from where the catalogue is.
    links = {_INSTRUCTIONS: f"{box.skills}/agents/{_INSTRUCTIONS}", _SKILLS: f"{box.skills}/{_SKILLS}"}
    links = {name: target for name, target in links.items() if name not in own}
    with tempfile.TemporaryDirectory(prefix="agentcap-skills-") as place:
        for name, target in links.items():
            (Path(place) / name).symlink_to(target)
        box.put_tree(Path(place), box.workspace)
    return {name: target.encode() for name, target in links.items()}
