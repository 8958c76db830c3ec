"""Read Harbor's task folders: `task.toml`, `instruction.md`, `environment/Dockerfile`, `tests/test.sh`, `solution/`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pytest_agentcap.corpus.harbortask import HarborTask
from pytest_agentcap.corpus.source import CorpusError, Entry

TASK_FILE = "task.toml"
PARTS = ("environment", "tests", "solution")
_SOLUTION_END = "AGENTCAP_END_OF_SOLUTION"
_DOCKERFILE = "environment/Dockerfile"
_COMPOSE = ("docker-compose.yaml", "docker-compose.yml", "compose.yaml")
_HOSTS = re.compile(r"\$\{\w+")


class _Agent(msgspec.Struct, frozen=True):
    timeout_sec: float = 600.0


class _Verifier(msgspec.Struct, frozen=True):
    timeout_sec: float = 600.0
    env: dict[str, str] = {}


class _Solution(msgspec.Struct, frozen=True):
    env: dict[str, str] = {}


class _Environment(msgspec.Struct, frozen=True):
    docker_image: str | None = None
    build_timeout_sec: float | None = None
    env: dict[str, str] = {}
    gpus: int = 0
    cpus: float | None = None
    memory: str | None = None
    memory_mb: int | None = None
    storage: str | None = None
    storage_mb: int | None = None
    allow_internet: bool = True
    network_mode: str | None = None

    @property
    def online(self) -> bool:
        """Tell whether the network may be used, by the newer key where it is there."""
        return self.allow_internet if self.network_mode is None else self.network_mode == "public"


class _File(msgspec.Struct, frozen=True):
    agent: _Agent = _Agent()
    verifier: _Verifier = _Verifier()
    environment: _Environment = _Environment()
    solution: _Solution = _Solution()
    metadata: dict[str, object] = {}


def is_harbor_task(path: Path) -> bool:
    """Tell whether a file is the `task.toml` of a task folder."""
    return path.name == TASK_FILE and (path.parent / "instruction.md").is_file()


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
        told = msgspec.toml.decode(path.read_bytes(), type=_File)
        instruction = (folder / "instruction.md").read_text("utf-8")
        solution = folder / "solution" / "solve.sh"
        solved = solution.read_text("utf-8") if solution.is_file() else None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{name}:1: cannot be read as a task: {error}; correct the file") from error
    environment = told.environment
    image = None if (folder / _DOCKERFILE).is_file() else environment.docker_image
    for needed in ("tests/test.sh", *(() if image else (_DOCKERFILE,))):
        if not (folder / needed).is_file():
            raise CorpusError(f"{name}:1: there is no {needed} beside it; a task folder needs one")
    for table, variables in (("environment", environment), ("verifier", told.verifier), ("solution", told.solution)):
        _check_variables(variables.env, f"{table}.env", name)
    task = HarborTask(
        folder=folder,
        verifier_timeout_s=told.verifier.timeout_sec,
        verifier_env=told.verifier.env,
        cpus=environment.cpus,
        memory=_size(environment.memory, environment.memory_mb),
        storage=_size(environment.storage, environment.storage_mb),
        allow_internet=environment.online,
        image=image,
        build_timeout_s=environment.build_timeout_sec,
        env=environment.env,
        hindrance=_hindrance(folder, environment),
    )
    entry = Entry(
        line=1,
        prompts=(instruction.strip(),),
        id=folder.name,
        references=(_as_one_command(solved, told.solution.env),) if solved else (),
        metadata=dict(told.metadata),
        timeout_s=told.agent.timeout_sec,
    )
    return entry, task


def _size(text: str | None, megabytes: int | None) -> str | None:
    return text or (f"{megabytes}m" if megabytes else None)


def _check_variables(variables: Mapping[str, str], table: str, name: str) -> None:
    for variable, value in variables.items():
        if _HOSTS.search(value):
            problem = f"`{table}.{variable}` is to come from this machine's environment, which no container sees"
            raise CorpusError(f"{name}:1: {problem}; write the value itself")
        if not variable.isidentifier() or "\n" in value or "\0" in value:
            raise CorpusError(f"{name}:1: `{table}.{variable}` cannot be a variable; write NAME = 'one line'")


def _hindrance(folder: Path, environment: _Environment) -> str | None:
    if any((folder / "environment" / compose).is_file() for compose in _COMPOSE):
        return "it needs several containers (docker-compose), and a sandbox is one"
    return "it asks for GPUs, and a sandbox has none" if environment.gpus else None


def _as_one_command(script: str, variables: Mapping[str, str]) -> str:
    """Return a script as one command to act out: its blank lines do not part it."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return f"bash <<'{_SOLUTION_END}'\n{exports}{script.rstrip()}\n{_SOLUTION_END}"
