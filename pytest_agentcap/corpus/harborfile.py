"""What `task.toml` may say in Harbor's format (schema 1.4 and those before it), and what of it no sandbox can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

_COMPOSE = ("docker-compose.yaml", "docker-compose.yml", "compose.yaml")
_PUBLIC = "public"
_SEPARATE = "separate"
_HOSTS = re.compile(r"\$\{[^}]+\}")


class Agent(msgspec.Struct, frozen=True):
    timeout_sec: float | None = None
    network_mode: str | None = None


class Environment(msgspec.Struct, frozen=True):
    docker_image: str | None = None
    build_timeout_sec: float | None = None
    workdir: str | None = None
    env: dict[str, str] = {}
    os: str = "linux"
    gpus: int | None = None
    tpu: object = None
    cpus: float | None = None
    memory: str | None = None
    memory_mb: float | None = None
    storage: str | None = None
    storage_mb: float | None = None
    allow_internet: bool | None = None
    network_mode: str | None = None
    allowed_hosts: list[str] | None = None
    mcp_servers: list[object] | None = None
    skills_dir: str | None = None
    healthcheck: object = None

    @property
    def online(self) -> bool:
        """Tell whether the whole network may be used, by the newer key where it is there."""
        if self.network_mode is not None:
            return self.network_mode == _PUBLIC
        return self.allow_internet is not False and not self.allowed_hosts


class Verifier(msgspec.Struct, frozen=True):
    timeout_sec: float = 600.0
    env: dict[str, str] = {}
    network_mode: str | None = None
    environment_mode: str | None = None
    environment: Environment | None = None
    collect: list[object] | None = None

    @property
    def variables(self) -> dict[str, str]:
        return {**(self.environment.env if self.environment else {}), **self.env}

    @property
    def separate(self) -> bool:
        """Tell whether it has an environment of its own, which may have an image of its own."""
        return self.environment is not None if self.environment_mode is None else self.environment_mode == _SEPARATE


class Solution(msgspec.Struct, frozen=True):
    env: dict[str, str] = {}


class Step(msgspec.Struct, frozen=True):
    name: str


class Artifact(msgspec.Struct, frozen=True):
    source: str
    exclude: list[str] = []
    service: str | None = None


class TaskFile(msgspec.Struct, frozen=True):
    """Hold the keys that change what a task is; others are passed over."""

    agent: Agent = Agent()
    verifier: Verifier = Verifier()
    environment: Environment = Environment()
    solution: Solution = Solution()
    steps: list[Step] = []
    artifacts: list[str | Artifact] = []
    metadata: dict[str, object] = {}

    def online(self, phase: Agent | Verifier) -> bool:
        """Tell whether a phase may use the whole network: by its own mode, else that of its environment."""
        own = phase.environment if isinstance(phase, Verifier) else None
        return (own or self.environment).online if phase.network_mode is None else phase.network_mode == _PUBLIC

    @property
    def published(self) -> tuple[Artifact, ...]:
        """Return what a separate verifier is given."""
        return tuple(Artifact(each) if isinstance(each, str) else each for each in self.artifacts)

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield the variables of all tables with their values, named as in the file."""
        env = {"environment": self.environment.env, "verifier": self.verifier.env, "solution": self.solution.env}
        if self.verifier.environment:
            env["verifier.environment"] = self.verifier.environment.env
        for table, variables in env.items():
            for name, value in variables.items():
                yield f"{table}.env.{name}", value


def hindrance(folder: Path, told: TaskFile) -> str | None:
    """Return the first reason why a task cannot be what its author meant in one container, or None."""
    return next(_hindrances(folder, told), None)


def _hindrances(folder: Path, told: TaskFile) -> Iterator[str]:
    environment, verifier = told.environment, told.verifier
    environments = (environment, *((verifier.environment,) if verifier.environment else ()))
    if _is_composed(folder / "environment"):
        yield "it needs several containers (docker-compose), and a sandbox is one"
    if told.steps:
        yield "it has several steps with tests of their own, and a task here is verified once, at its end"
    for each in environments:
        if each.os.lower() != "linux":
            yield f"it is for {each.os}, and a sandbox is Linux"
        if each.gpus:
            yield "it asks for GPUs, and a sandbox has none"
        if each.tpu:
            yield "it asks for TPUs, and a sandbox has none"
        if each.healthcheck:
            yield "it runs a command before agent or verifier (`healthcheck`), which no sandbox does"
    if environment.mcp_servers:
        yield "it brings MCP servers (`environment.mcp_servers`), which agents are not told of"
    if environment.skills_dir:
        yield "it brings skills (`environment.skills_dir`), which agents are not told of: use --skills without that key"
    if verifier.collect:
        yield "it runs commands after the agent (`verifier.collect`), and a container is stopped by then"
    if verifier.separate:
        yield from _hindrances_of_separate(folder, told)
    if (folder / "trajectory.json").is_file():
        yield "it goes on from a conversation (trajectory.json), and a session begins with none"
    yield from _unset_variables(told)


def _hindrances_of_separate(folder: Path, told: TaskFile) -> Iterator[str]:
    if _is_composed(folder / "tests"):
        yield "its verifier needs several containers (docker-compose), and a sandbox is one"
    for artifact in told.published:
        path = PurePosixPath(artifact.source)
        if not path.is_absolute() or not path.name or ".." in path.parts:
            yield f"its verifier is given `{artifact.source}`, which is no path of a file or a folder from `/` on"
        if artifact.service not in (None, "main"):
            yield f"its verifier is given `{path}` of another container ({artifact.service}), and a sandbox is one"
        if artifact.exclude:
            yield f"its verifier is given `{path}` without some files (`exclude`), and here a folder is copied whole"


def _unset_variables(told: TaskFile) -> Iterator[str]:
    for variable, value in told.variables():
        if _HOSTS.fullmatch(value):
            yield f"`{variable}` is to come from this machine's environment, which no container sees"


def _is_composed(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _COMPOSE)


def size_of(text: str | None, megabytes: float | None) -> str | None:
    """Return a size as `512m`, from the older key where it is there."""
    return text or (f"{int(megabytes)}m" if megabytes else None)
