"""What `task.toml` may say in Harbor's format (schema 1.4 and those before it), and what of it no sandbox can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

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


class TaskFile(msgspec.Struct, frozen=True):
    """Hold the keys that change what a task is; others are passed over."""

    agent: Agent = Agent()
    verifier: Verifier = Verifier()
    environment: Environment = Environment()
    solution: Solution = Solution()
    steps: list[Step] = []
    metadata: dict[str, object] = {}

    def online(self, phase: Agent | Verifier) -> bool:
        """Tell whether a phase may use the whole network: by its own mode, else that of its environment."""
        own = phase.environment if isinstance(phase, Verifier) else None
        return (own or self.environment).online if phase.network_mode is None else phase.network_mode == _PUBLIC

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
    if _is_composed(folder / "environment"):
        yield "it needs several containers (docker-compose), and a sandbox is one"
    if told.steps:
        yield "it has several steps with tests of their own, and a task here is verified once, at its end"
    if environment.os.lower() != "linux":
        yield f"it is for {environment.os}, and a sandbox is Linux"
    if environment.gpus:
        yield "it asks for GPUs, and a sandbox has none"
    if environment.tpu:
        yield "it asks for TPUs, and a sandbox has none"
    if environment.mcp_servers:
        yield "it brings MCP servers (`environment.mcp_servers`), which agents are not told of"
    if environment.skills_dir:
        yield "it brings skills (`environment.skills_dir`), which agents are not told of: use --skills without that key"
    if environment.healthcheck:
        yield "it runs a command before the agent (`environment.healthcheck`), which no sandbox does"
    if verifier.collect:
        yield "it runs commands after the agent (`verifier.collect`), and a container is stopped by then"
    if verifier.separate and (_has_image(verifier.environment) or _builds_an_image(folder / "tests")):
        yield "its verifier has an image of its own, and here it runs in the task's"
    if (folder / "trajectory.json").is_file():
        yield "it goes on from a conversation (trajectory.json), and a session begins with none"
    yield from _unset_variables(told)


def _unset_variables(told: TaskFile) -> Iterator[str]:
    for variable, value in told.variables():
        if _HOSTS.fullmatch(value):
            yield f"`{variable}` is to come from this machine's environment, which no container sees"


def _is_composed(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _COMPOSE)


def _builds_an_image(folder: Path) -> bool:
    return (folder / "Dockerfile").is_file() or _is_composed(folder)


def _has_image(environment: Environment | None) -> bool:
    return environment is not None and bool(environment.docker_image)


def size_of(text: str | None, megabytes: float | None) -> str | None:
    """Return a size as `512m`, from the older key where it is there."""
    return text or (f"{int(megabytes)}m" if megabytes else None)
