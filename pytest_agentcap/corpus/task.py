"""What one corpus entry is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_agentcap.corpus.harbortask import HarborTask
from pytest_agentcap.corpus.images import TaskImage
from pytest_agentcap.corpus.repotask import RepoTask


@dataclass(frozen=True, slots=True)
class Task:
    """Hold one corpus entry: its prompts, its id, and what grading needs.

    `prompts` are the scripted turns; the first is the task's prompt. `references` are shell scripts, the n-th for the
    n-th prompt: what a correct agent could run. `index` is 1-based in its corpus; `source` is `file:line`. `repo` is
    what a task on a repository says of it and of its answer. `harbor` is what a Harbor task folder says of its
    container and verifier. `corpus_hash` is the SHA-256 of the corpus file. `images` go to the agent with the first
    prompt.
    """

    id: str
    prompts: tuple[str, ...]
    corpus: str
    index: int
    source: str
    hint: str | None = None
    references: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    corpus_hash: str | None = None
    repo: RepoTask | None = None
    harbor: HarborTask | None = None
    images: tuple[TaskImage, ...] = ()

    @property
    def prompt(self) -> str:
        return self.prompts[0]
