"""agent × model × task × trial: which tests there are, and how they are called."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest

from pytest_agentcap.agents.find import agent_stem, chosen_agent
from pytest_agentcap.collector import Corpus, corpus_of_folder
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.distributed import ASSIGNMENT, Assignment
from pytest_agentcap.joining import Standing
from pytest_agentcap.runs.attempts import Selected, add_to_plan
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.settings import Settings

_OURS = frozenset({"agent_session", "agent_sandbox", "capture_run"})


def parametrize(metafunc: pytest.Metafunc, settings: Settings) -> None:
    """Multiply a test that drives an agent; four separate calls keep session fixtures alive between tests."""
    names = set(metafunc.fixturenames)
    corpus = metafunc.definition.getparent(Corpus)
    if "agent" not in names or not (corpus or names & _OURS):
        return
    metafunc.parametrize("agent", settings.agents, ids=agent_ids(settings.agents), indirect=True, scope="session")
    if "_target" in names:
        ids = model_slugs(settings.model_names)
        metafunc.parametrize("_target", settings.targets, ids=ids, indirect=True, scope="session")
    if "task" in names:
        tasks = corpus.tasks if corpus else _tasks_beside(metafunc)
        metafunc.parametrize("task", tasks, ids=[task.id for task in tasks])
    if "trial" in names:
        trials = [pytest.param(k, id=f"t{k}" if k > 1 else pytest.HIDDEN_PARAM) for k in range(1, settings.trials + 1)]
        metafunc.parametrize("trial", trials)


def agent_ids(agents: Sequence[str]) -> list[str]:
    """Return ids for agents given by name or by path; a folder's name stands for its path."""
    return _distinct([_slug(agent_stem(agent)) for agent in agents])


def model_slugs(models: Sequence[str]) -> list[str]:
    """Return ids for models: what stands behind the last slash where that tells them apart, else the whole id."""
    short = [_slug(model.rsplit("/", 1)[-1]) for model in models]
    return short if len(set(short)) == len(short) else _distinct([_slug(model) for model in models])


@dataclass(frozen=True, slots=True)
class Extent:
    """Count the sessions that a list of tests stands for, and the distinct tasks among them."""

    sessions: int
    tasks: int


def extent(nodeids: Iterable[str], agents: Sequence[str], models: Sequence[str], trials: int) -> Extent:
    """Read from node ids, which is all that xdist's controller knows of tests, how much is about to run."""
    agent, model = ("|".join(map(re.escape, ids)) for ids in (agent_ids(agents), model_slugs(models)))
    trial = r"(?:-t\d+)?" if trials > 1 else ""
    ours = re.compile(rf"(?P<test>.*)\[(?:{agent})-(?:{model})(?P<task>-.*?)?{trial}\]")
    found = [match for nodeid in nodeids if (match := ours.fullmatch(nodeid))]
    return Extent(len(found), len({match.group("test", "task") for match in found}))


class Selection:
    """Choose with --limit and --sample, then --shard, after every other choice (-k, -m, --lf), alike on all workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._selected: dict[RunDirectory, list[str]] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]):  # type: ignore[no-untyped-def]
        result = yield
        if self._settings.limit or self._settings.sample:
            _keep(config, items, self._chosen(items))
        assignment = config.stash.get(ASSIGNMENT, None)
        if self._settings.shard:
            self._selected = self._planned(config, items, assignment) if assignment else {}
            _keep(config, items, {id(item) for item in items if self._settings.shard.has(_together(item))})
        standing = Standing.read(assignment.state.folder).deselected if self._settings.resume and assignment else ()
        if standing:
            # Last, so that --limit and --sample choose what they chose before.
            _keep(config, items, {id(item) for item in items if item.nodeid not in standing})
        return result

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note in each run which sessions it is to have: they may never begin."""
        assignment = session.config.stash.get(ASSIGNMENT, None)
        if assignment is None:
            return
        planned = self._planned(session.config, session.items, assignment)
        for run in assignment.all_runs if self._settings.shard else planned:
            selected = Selected.of(self._selected.get(run, ())) if self._settings.shard else None
            add_to_plan(run, planned.get(run, ()), selected)

    def _planned(
        self, config: pytest.Config, items: Iterable[pytest.Item], assignment: Assignment
    ) -> dict[RunDirectory, list[str]]:
        """Return the node ids of the tests that begin a session, by the run that it belongs to."""
        keys = {name: chosen_agent(name, self._settings, config.rootpath).key for name in self._settings.agents}
        planned: dict[RunDirectory, list[str]] = {}
        for item in items:
            chosen = item.callspec.params if hasattr(item, "callspec") else {}
            if "agent_session" in getattr(item, "fixturenames", ()) and {"agent", "_target"} <= chosen.keys():
                run = assignment.run(keys[chosen["agent"]], chosen["_target"].key)
                planned.setdefault(run, []).append(item.nodeid)
        return planned

    def _chosen(self, items: list[pytest.Item]) -> set[int]:
        tasks: dict[str, list[str]] = {}
        for item in items:
            task = _task_of(item)
            if task:
                known = tasks.setdefault(task.corpus, [])
                if task.id not in known:
                    known.append(task.id)
        chosen = {(corpus, id_) for corpus, ids in tasks.items() for id_ in self._pick(corpus, ids)}
        return {id(item) for item in items if not (task := _task_of(item)) or (task.corpus, task.id) in chosen}

    def _pick(self, corpus: str, ids: list[str]) -> list[str]:
        if self._settings.limit:
            return ids[: self._settings.limit]
        size = min(self._settings.sample or len(ids), len(ids))
        return random.Random(f"{self._settings.seed}/{corpus}").sample(ids, size)


def _keep(config: pytest.Config, items: list[pytest.Item], kept: set[int]) -> None:
    dropped = [item for item in items if id(item) not in kept]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if id(item) in kept]


def _together(item: pytest.Item) -> str:
    """Return what tests have in common that belong on one machine: each its own, and those that share a home theirs."""
    from pytest_agentcap.ordering import group_of

    return group_of(item) or item.nodeid


def _task_of(item: pytest.Item) -> Task | None:
    callspec = getattr(item, "callspec", None)
    task = callspec.params.get("task") if callspec else None
    return task if isinstance(task, Task) else None


def _tasks_beside(metafunc: pytest.Metafunc) -> tuple[Task, ...]:
    here = metafunc.definition.path.parent
    mark = metafunc.definition.get_closest_marker("corpus")
    place = here / mark.args[0] if mark else here
    return corpus_of_folder(place, metafunc.config)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-") or "x"


def _distinct(slugs: list[str]) -> list[str]:
    return [slug if slugs.count(slug) == 1 else f"{slug}-{n}" for n, slug in enumerate(slugs, 1)]
