"""Tasks that share a home stay together: one worker of pytest-xdist runs all of them, in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScheduling
from xdist.workermanage import WorkerController

from pytest_agentcap import fixtures
from pytest_agentcap.distributed import ASSIGNMENT
from pytest_agentcap.runs.layout import write_whole

_FILE = "groups.json"


def group_of(item: pytest.Item) -> str | None:
    """Name the group of a test whose corpus overrides the fixture `shared_home`; None for all other tests."""
    info = getattr(item, "_fixtureinfo", None)
    found = info.name2fixturedefs.get("shared_home", ()) if info else ()
    if not found or found[-1].func.__module__ == fixtures.__name__:
        return None
    module, callspec = item.getparent(pytest.Module), getattr(item, "callspec", None)
    chosen = callspec.params if callspec else {}
    return "\n".join(map(str, (module.nodeid if module else "", chosen.get("agent"), chosen.get("model"))))


class GroupTeller:
    """Tell the controller, which collects nothing itself, which tests belong together; registered in workers."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        assignment = session.config.stash.get(ASSIGNMENT, None)
        groups = {item.nodeid: group for item in session.items if (group := group_of(item))}
        if assignment is not None and groups:
            write_whole(assignment.state.folder / _FILE, json.dumps(groups).encode())


class GroupScheduling:
    """Have xdist's `--dist load` keep groups together; registered in the controller."""

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> LoadScheduling | None:
        assignment = config.stash.get(ASSIGNMENT, None)
        if config.getoption("dist") != "load" or assignment is None:
            return None
        return LoadGroups(config, log, assignment.state.folder / _FILE)


class LoadGroups(LoadScheduling):  # type: ignore[misc]
    """Hand out tests as `load` does, and with the first test of a group all others of it."""

    def __init__(self, config: pytest.Config, log: Producer | None, told: Path) -> None:
        super().__init__(config, log)
        self._told = told
        self._groups: dict[str, str] | None = None

    def _send_tests(self, node: WorkerController, num: int) -> None:
        chosen = self.pending[:num]
        groups = {group for index in chosen if (group := self._group(index))}
        chosen += [index for index in self.pending[num:] if self._group(index) in groups]
        if chosen:
            self.pending[:] = [index for index in self.pending if index not in set(chosen)]
            self.node2pending[node].extend(chosen)
            node.send_runtest_some(chosen)

    def _group(self, index: int) -> str | None:
        if self._groups is None:
            # All workers have collected by now, and told the same.
            self._groups = json.loads(self._told.read_bytes()) if self._told.exists() else {}
        assert self.collection is not None
        return self._groups.get(self.collection[index])
