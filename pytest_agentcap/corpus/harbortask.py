"""What a Harbor task folder says beside its instruction."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# Where the format has a solution in its container.
SOLUTION = "/solution"
DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class TaskContainer:
    """Hold what one container of a task is made of; sizes as `512m`, times in seconds.

    `image` stands in the place of `folder`, which has a Dockerfile, and `workdir` in that of the image's own. `given`
    are files and folders that go from the agent's container to the verifier's own: its user may write to such folders.
    """

    folder: Path
    image: str | None = None
    workdir: str | None = None
    build_timeout_s: float | None = None
    env: dict[str, str] = field(default_factory=dict)
    cpus: float | None = None
    memory: str | None = None
    storage: str | None = None
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Separate:
    """Hold a verifier's own container, which is given no workspace; `has_tests` says that its image has the tests."""

    container: TaskContainer
    has_tests: bool


@dataclass(frozen=True, slots=True)
class HarborTask:
    """Hold what a task folder says of its container and its verifier; times in seconds.

    A verifier that is not `separate` runs in a container like the agent's, and each has its own word on the network.
    `hindrance` says why no sandbox can be such a container.
    """

    folder: Path
    container: TaskContainer
    verifier_timeout_s: float
    verifier_env: dict[str, str] = field(default_factory=dict)
    allow_internet: bool = True
    verifier_internet: bool = True
    separate: Separate | None = None
    hindrance: str | None = None
