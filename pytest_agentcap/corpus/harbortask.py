"""What a Harbor task folder says beside its instruction."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# Where the format has a solution in its container.
SOLUTION = "/solution"


@dataclass(frozen=True, slots=True)
class HarborTask:
    """Hold what a task folder says of its container and its verifier; sizes as `512m`, times in seconds.

    `image` stands in the place of a Dockerfile where there is none, `workdir` in that of the image's own. `env` is for
    agent and verifier; each has its own word on the network. `hindrance` says why no sandbox can be such a container.
    """

    folder: Path
    verifier_timeout_s: float
    verifier_env: dict[str, str] = field(default_factory=dict)
    cpus: float | None = None
    memory: str | None = None
    storage: str | None = None
    allow_internet: bool = True
    verifier_internet: bool = True
    image: str | None = None
    workdir: str | None = None
    build_timeout_s: float | None = None
    env: dict[str, str] = field(default_factory=dict)
    hindrance: str | None = None
