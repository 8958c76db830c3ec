from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.upstream.scripted import ScriptedModel

MakeTask = Callable[..., Task]


@pytest.fixture
def make_task() -> MakeTask:
    def make(*prompts: str, references: tuple[str, ...] = (), task_id: str = "write-a-file") -> Task:
        return Task(
            id=task_id, prompts=prompts, references=references, corpus="quickstart", index=1, source="tasks.jsonl:1"
        )

    return make


@pytest.fixture
def scripted() -> Iterator[ScriptedModel]:
    with ScriptedModel.start("scripted-1") as model:
        yield model


@pytest.fixture
def client(scripted: ScriptedModel) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=scripted.url, timeout=60) as http:
        yield http
