"""What a session's sandbox is filled with before the agent's first turn."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from pytest_agentcap.agents.commands import agent_files, variables_of
from pytest_agentcap.agents.images import for_images, image_paths
from pytest_agentcap.agents.skills import provide_skills
from pytest_agentcap.agents.tools import set_up_tools
from pytest_agentcap.corpus.harbortask import SOLUTION
from pytest_agentcap.corpus.repotask import RepoTask
from pytest_agentcap.plan import SessionPlan
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.sandbox.base import SandboxError, SandboxSession
from pytest_agentcap.sandbox.patch import Baseline
from pytest_agentcap.sandbox.tools import SET_UP


def provide(plan: SessionPlan, box: SandboxSession, lease: str, scratch: Path, *, scripted: bool) -> Baseline:
    """Put in the workspace, skills and the agent's files; return what the workspace's changes are told from.

    A workspace that a task's own image or a folder of tools has put something into is copied into `scratch`. A script
    that acts out a task's solution finds its files; `scripted` says that no model is there to read them.

    Raises SandboxError.
    """
    source = plan.workspace.folder if plan.workspace else None
    added: dict[str, bytes] = {}
    if source:
        box.put_tree(source, box.workspace)
    if plan.task.harbor:
        source = _copied(box, scratch / "workspace-began")
        if scripted and (solution := plan.task.harbor.folder / "solution").is_dir():
            box.put_tree(solution, SOLUTION)
    if plan.task.repo:
        _make_folders(plan.task.repo, box)
    if plan.options.skills and plan.agent.skills:
        discovery = variables_of(plan.model, box, lease).render(plan.agent.skills)
        own = [path.name for path in source.iterdir()] if source else []
        copied = plan.agent.skills_copied
        added |= provide_skills(box, plan.options.skills, discovery, copied=copied, own=own)
    _put_images(plan, box)
    agent = for_images(plan.agent) if plan.task.images else plan.agent
    for path, data in agent_files(agent, plan.model, box, lease):
        box.put(path, data)
        if PurePosixPath(path).is_relative_to(box.workspace):
            added[str(PurePosixPath(path).relative_to(box.workspace))] = data
    if plan.options.tools and (plan.options.tools / SET_UP).is_file():
        mask = Mask.of(plan.secrets, lease)
        set_up_tools(plan.agent, variables_of(plan.model, box, lease), box, mask, scratch)
        source, added = _copied(box, scratch / "workspace-set-up"), {}
    return Baseline.of(source, added)


def _copied(box: SandboxSession, into: Path) -> Path:
    into.mkdir()
    box.copy_out(box.workspace, into)
    return into


def _put_images(plan: SessionPlan, box: SandboxSession) -> None:
    images = plan.task.images
    for path, image in zip(image_paths(box.home, images), images, strict=True):
        try:
            box.put(path, image.read())
        except ValueError as error:
            raise SandboxError(str(error)) from error


def _make_folders(task: RepoTask, box: SandboxSession) -> None:
    """Make the folders in which the agent may write: a policy need not allow it to make one."""
    with tempfile.TemporaryDirectory(prefix="agentcap-folders-") as scratch:
        for path in (*task.policy.write_paths, f"{PurePosixPath(task.answer).parent}/"):
            inside = path.endswith("/") and not path.startswith("/") and ".." not in PurePosixPath(path).parts
            if inside:
                Path(scratch, path).mkdir(parents=True, exist_ok=True)
        box.put_tree(Path(scratch), box.workspace)
