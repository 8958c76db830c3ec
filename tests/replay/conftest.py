"""What tests of the replay share: a recording of sessions, and sessions that replay it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.proxy.leases import Lease
from pytest_agentcap.replay.form import Rules
from pytest_agentcap.replay.matcher import Identity
from pytest_agentcap.replay.replay import Replay
from pytest_agentcap.replay.session import SessionReplay
from pytest_agentcap.replay.settings import ReplaySettings
from pytest_agentcap.runs.layout import RunDirectory


class Replayed:
    """A session that replays a recording, and its lease."""

    def __init__(self, replay: Replay, lease: Lease, identity: Identity, rules: Rules) -> None:
        self.replay, self.lease = replay, lease
        self.session: SessionReplay = replay.open(lease, identity, rules)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Where a recording goes."""
    return RunDirectory(tmp_path / "recording")


@pytest.fixture
def replayed(tmp_path: Path) -> Callable[..., Replayed]:
    """Open a recording for a session, by default the first trial of the task `buy` of the agent `pi`."""
    numbers = iter(range(100))

    def start(source: Path | str, rules: Rules | None = None, replay: Replay | None = None, **told: Any) -> Replayed:
        named = {name: told.pop(name) for name in ("task_id", "trial", "agent", "corpus", "model") if name in told}
        identity = Identity(
            **{"task_id": "buy", "trial": 1, "agent": "pi", "corpus": "shop", "model": "org/m", **named}
        )
        served = replay or Replay.of(str(source), tmp_path, ReplaySettings(**told))
        number = next(numbers)
        lease = Lease(f"lease-{number}", Journal(tmp_path / f"{number}.journal", {}))
        return Replayed(served, lease, identity, rules or Rules())

    return start


@pytest.fixture
def asking() -> Callable[..., bytes]:
    """Return the body of a request that says these messages."""

    def body(messages: list[dict[str, Any]], **more: Any) -> bytes:
        return json.dumps({"model": "org/m", "messages": messages, **more}).encode()

    return body
