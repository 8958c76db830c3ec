"""Read Harbor's task folders: `task.toml`, `instruction.md`, `environment/Dockerfile`, `tests/test.sh`, `solution/`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import msgspec

from pytest_agentcap.corpus.harborfile import Environment, TaskFile, hindrance, size_of
from pytest_agentcap.corpus.harbortask import DOCKERFILE, SOLUTION, HarborTask, Separate, TaskContainer
from pytest_agentcap.corpus.source import CorpusError, Entry

TASK_FILE = "task.toml"
PARTS = ("environment", "tests", "solution", "steps")
_SOLUTION_END = "AGENTCAP_END_OF_SOLUTION"
# What a verifier of its own is given though no task says so.
_PUBLISHED = "/logs/artifacts"


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
    reason, own = hindrance(folder, told), folder / "environment"
    image = None if (own / DOCKERFILE).is_file() else told.environment.docker_image
    needed = ("tests/test.sh", *(() if image else (f"environment/{DOCKERFILE}",)))
    _check(folder, told, () if reason else needed, name)
    given = _given(told) if told.verifier.separate else ()
    container = _container(told.environment, own, image, given)
    task = HarborTask(
        folder=folder,
        container=container,
        verifier_timeout_s=told.verifier.timeout_sec,
        verifier_env=told.verifier.variables,
        allow_internet=told.online(told.agent),
        verifier_internet=told.online(told.verifier),
        separate=_separate(folder / "tests", told, container),
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


def _container(told: Environment, folder: Path, image: str | None, given: tuple[str, ...]) -> TaskContainer:
    return TaskContainer(
        folder=folder,
        image=image,
        workdir=told.workdir,
        build_timeout_s=told.build_timeout_sec,
        env=told.env,
        cpus=told.cpus,
        memory=size_of(told.memory, told.memory_mb),
        storage=size_of(told.storage, told.storage_mb),
        given=given,
    )


def _given(told: TaskFile) -> tuple[str, ...]:
    return tuple(dict.fromkeys((_PUBLISHED, *(str(PurePosixPath(each.source)) for each in told.published))))


def _separate(tests: Path, told: TaskFile, agents: TaskContainer) -> Separate | None:
    """Return a verifier's own container: of the image that it names, else of its Dockerfile, else of the task's."""
    if not told.verifier.separate:
        return None
    own = told.verifier.environment
    named = own.docker_image if own else None
    has_tests = bool(named) or (tests / DOCKERFILE).is_file()
    folder, image = (tests, named) if has_tests else (agents.folder, agents.image)
    container = _container(own or told.environment, folder, image, agents.given)
    return Separate(replace(container, build_timeout_s=container.build_timeout_s or agents.build_timeout_s), has_tests)


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
    for table, each in (("environment", told.environment), ("verifier.environment", told.verifier.environment)):
        if each and each.workdir and not each.workdir.startswith("/"):
            raise CorpusError(f"{name}:1: `{table}.workdir` is no folder of a container; write it from `/` on")


def _as_one_command(script: str, variables: Mapping[str, str]) -> str:
    """Return a script as one command to act out: its blank lines do not part it, and it is the file that it was."""
    path = f"{SOLUTION}/solve.sh"
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return f"cat > {path} <<'{_SOLUTION_END}'\n{script.rstrip()}\n{_SOLUTION_END}\n{exports}bash {path}"
