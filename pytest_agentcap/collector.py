"""A corpus file becomes a module of tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.doctest import DoctestTextfile

from pytest_agentcap.agents.arguments import longest_prompt
from pytest_agentcap.agents.find import find_agent
from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.corpus.reader import CorpusError, corpus_files, is_corpus_file, read_corpus
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.distributed import ASSIGNMENT
from pytest_agentcap.fixtures import SETTINGS
from pytest_agentcap.joining import Standing

_READABLE = (".txt", ".jsonl")


class Corpus(pytest.Module):
    """Collect a corpus file as if it were a module that holds the shipped test function.

    Being a Module is what gives tasks fixtures, conftest.py overrides, marks, `--lf` and JUnit properties.
    """

    _tasks: tuple[Task, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self._tasks

    def _getobj(self) -> ModuleType:
        from pytest_agentcap import testcase

        return testcase

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            self._tasks = _read_tasks(self.path, self.config)
        except CorpusError as error:
            raise self.CollectError(str(error)) from error
        return super().collect()


def is_corpus(path: Path, named: bool) -> bool:
    """Tell whether a file is collected as a corpus: by its name, or because an argument names it."""
    return is_corpus_file(path) or (named and path.suffix in _READABLE)


def corpus_of_folder(place: Path, config: pytest.Config) -> tuple[Task, ...]:
    """Read the tasks of a corpus file, or of the corpus files that a folder directly holds.

    Fails the collection with one line when there are none.
    """
    files = [place] if place.is_file() else corpus_files(place)
    if not files:
        pytest.fail(f"{place}: holds no corpus for the fixture 'task': add tasks.txt or mark the test", pytrace=False)
    try:
        return tuple(task for file in files for task in _read_tasks(file, config))
    except CorpusError as error:
        pytest.fail(str(error), pytrace=False)


def _read_tasks(path: Path, config: pytest.Config) -> tuple[Task, ...]:
    """Read a corpus file, and see that each of the agents can be given its prompts.

    Raises CorpusError.
    """
    tasks = read_corpus(path, root=config.rootpath)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tasks = tuple(replace(task, corpus_hash=digest) for task in tasks)
    _check_unchanged(tasks[0], config)
    for name in config.stash[SETTINGS].agents:
        agent = find_agent(name, config.rootpath)
        _check_images(tasks, agent)
        most = longest_prompt(agent)
        if most is not None:
            _check_lengths(tasks, agent.name, most)
    return tasks


def _check_unchanged(task: Task, config: pytest.Config) -> None:
    assignment = config.stash.get(ASSIGNMENT, None)
    changed = (
        Standing.read(assignment.state.folder).changed_corpus(task.source, task.corpus_hash) if assignment else None
    )
    if changed:
        raise CorpusError(changed)


def _check_images(tasks: Iterable[Task], agent: AgentSpec) -> None:
    for task in tasks:
        if task.images and agent.images is None:
            raise CorpusError(
                f"{task.source}: the task has images, and {agent.name} takes none: use an agent whose agent.toml has "
                "[images], or leave the task out"
            )


def _check_lengths(tasks: Iterable[Task], agent: str, most: int) -> None:
    for task in tasks:
        size = max(len(prompt.encode()) for prompt in task.prompts)
        if size > most:
            raise CorpusError(
                f"{task.source}: the prompt has {size} bytes, more than the {most} that {agent} can be given as an "
                "argument; put the material into the workspace instead"
            )


def collect_corpus(path: Path, parent: pytest.Collector, others: list[pytest.Collector]) -> list[pytest.Collector]:
    """Add a file's corpus to what others made of the file.

    The doctest plugin takes any text file that an argument names; prompts with `>>>` are no doctests.
    """
    if not is_corpus(path, parent.session.isinitpath(path)):
        return others
    kept = [each for each in others if not isinstance(each, DoctestTextfile)]
    return [*kept, Corpus.from_parent(parent, path=path)]
