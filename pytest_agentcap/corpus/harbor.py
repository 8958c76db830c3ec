"""Read Harbor's task folders: `task.toml`, `instruction.md`, `environment/Dockerfile`, `tests/test.sh`, `solution/`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pytest_agentcap.corpus.harborfile import TaskFile, hindrance, size_of
from pytest_agentcap.corpus.harbortask import SOLUTION, HarborTask
from pytest_agentcap.corpus.source import CorpusError, Entry

TASK_FILE = "task.toml"
PARTS = ("environment", "tests", "solution", "steps")
_SOLUTION_END = "AGENTCAP_END_OF_SOLUTION"
_DOCKERFILE = "environment/Dockerfile"


def is_harbor_task(path: Path) -> bool:
    """Tell whether a file is the `task.toml` of a task folder, of several steps or of one."""
    if path.name != TASK_FILE:
        return False
    return (path.parent / "instruction.md").is_file() or any(path.parent.glob("steps/*/instruction.md"))


def is_part_of_task(folder: Path) -> bool:
    """Tell whether a folder belongs to a task: what is in it is not for pytest to collect."""
    return folder.name in PARTS and is_harbor_task(folder.parent / TASK_FILE)


def index_of(path: Path) -> int:
    """Return the position of a task among those beside it, from 1 on."""
    folders = path.absolute().parents[1].glob(f"*/{TASK_FILE}")
    return sorted(each for each in folders if is_harbor_task(each)).index(path.absolute()) + 1


def read_harbor_task(path: Path, name: str) -> tuple[Entry, HarborTask]:
    """Read a task folder by its `task.toml`; `name` is what messages call that. Raises CorpusError."""
    folder = path.absolute().parent
    try:
        told = msgspec.toml.decode(path.read_bytes(), type=TaskFile)
        prompts = tuple(each.read_text("utf-8").strip() for each in _instructions(folder, told))
        solution = folder / "solution" / "solve.sh"
        solved = solution.read_text("utf-8") if solution.is_file() else None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{name}:1: cannot be read as a task: {error}; correct the file") from error
    environment = told.environment
    image = None if (folder / _DOCKERFILE).is_file() else environment.docker_image
    reason = hindrance(folder, told)
    _check(folder, told, () if reason else ("tests/test.sh", *(() if image else (_DOCKERFILE,))), name)
    task = HarborTask(
        folder=folder,
        verifier_timeout_s=told.verifier.timeout_sec,
        verifier_env=told.verifier.variables,
        cpus=environment.cpus,
        memory=size_of(environment.memory, environment.memory_mb),
        storage=size_of(environment.storage, environment.storage_mb),
        allow_internet=told.online(told.agent),
        verifier_internet=told.online(told.verifier),
        image=image,
        workdir=environment.workdir,
        build_timeout_s=environment.build_timeout_sec,
        env=environment.env,
        hindrance=reason,
    )
    entry = Entry(
        line=1,
        prompts=prompts,
        id=folder.name,
        references=(_as_one_command(solved, told.solution.env),) if solved else (),
        metadata=dict(told.metadata),
        timeout_s=told.agent.timeout_sec,
    )
    return entry, task


def _instructions(folder: Path, told: TaskFile) -> tuple[Path, ...]:
    steps = tuple(folder / "steps" / step.name / "instruction.md" for step in told.steps)
    return steps or (folder / "instruction.md",)


def _check(folder: Path, told: TaskFile, parts: tuple[str, ...], name: str) -> None:
    for part in parts:
        if not (folder / part).is_file():
            raise CorpusError(f"{name}:1: there is no {part} beside it; a task folder needs one")
    for variable, value in told.variables():
        if not variable.rpartition(".")[2].isidentifier() or "\n" in value or "\0" in value:
            raise CorpusError(f"{name}:1: `{variable}` cannot be a variable; write NAME = 'one line'")
    if told.environment.workdir and not told.environment.workdir.startswith("/"):
        raise CorpusError(f"{name}:1: `environment.workdir` is no folder of a container; write it from `/` on")


def _as_one_command(script: str, variables: Mapping[str, str]) -> str:
    """Return a script as one command to act out: its blank lines do not part it, and it is the file that it was."""
    path = f"{SOLUTION}/solve.sh"
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return f"cat > {path} <<'{_SOLUTION_END}'\n{script.rstrip()}\n{_SOLUTION_END}\n{exports}bash {path}"
