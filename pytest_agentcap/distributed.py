"""What xdist's controller and its workers tell each other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.standard_input import hand_on

if TYPE_CHECKING:
    from pytest_agentcap.sandbox.reaper import OwnerState

_KEY = "agentcap"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Hold what the controller decided once for all workers: plain data, so that it travels.

    `runs` maps an agent and a model of a server, see `run_key`, to a run directory.
    """

    owner: str
    runs: dict[str, str]
    podman_uri: str | None

    def run(self, agent: str, target: str) -> RunDirectory:
        return RunDirectory(Path(self.runs[run_key(agent, target)]))

    @property
    def all_runs(self) -> list[RunDirectory]:
        return [RunDirectory(Path(path)) for path in self.runs.values()]

    @property
    def state(self) -> OwnerState:
        from pytest_agentcap.sandbox.reaper import OwnerState

        return OwnerState.of(self.owner)


def run_key(agent: str, target: str) -> str:
    """Return what stands for an agent's key and a target's."""
    return f"{agent}\n{target}"


ASSIGNMENT: pytest.StashKey[Assignment] = pytest.StashKey()


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def hand_over(assignment: Assignment, workerinput: dict[str, Any]) -> None:
    """Give a worker that is about to start its assignment."""
    workerinput[_KEY] = asdict(assignment)


def take_over(config: pytest.Config) -> None:
    """Take the assignment in a worker; there is none under --collect-only."""
    given = config.workerinput.get(_KEY)  # type: ignore[attr-defined]
    if given is not None:
        config.stash[ASSIGNMENT] = Assignment(**given)


class WorkerStart:
    """Hand the assignment to each worker; registered only when pytest-xdist is there, whose hook this is."""

    @pytest.hookimpl
    def pytest_configure_node(self, node: Any) -> None:
        hand_on(node.config, node.workerinput)
        assignment = node.config.stash.get(ASSIGNMENT, None)
        if assignment is not None:
            hand_over(assignment, node.workerinput)
