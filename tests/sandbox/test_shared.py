from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import Command, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.host import HostSandbox
from pytest_agentcap.sandbox.reaper import Owner, OwnerState
from pytest_agentcap.sandbox.shared import Homes, LentBox, SharedHome


class Door:
    """Serve nobody."""

    def listen(self, sock: socket.socket) -> Door:
        self.sock = sock
        return self

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def state(tmp_path: Path) -> OwnerState:
    return Owner.claim(tmp_path)


@pytest.fixture
def homes(state: OwnerState):
    homes = Homes(state.folder)
    yield homes
    homes.close()


def find(homes: Homes, state: OwnerState, group: str = "a", trial: int = 1) -> SharedHome:
    return homes.find(HostSandbox(None, state), group, trial)


def start(home: SharedHome, name: str = "task") -> LentBox:
    return home.start(name, Door(), SandboxOptions())


def sh(box: LentBox, script: str, tmp_path: Path) -> int | None:
    out = tmp_path / "out"
    return box.run(Command(["sh", "-c", script], {}, None, out, out, 60), lambda: None).exit_code


def test_the_home_goes_on_and_the_workspace_does_not(homes, state, tmp_path):
    first = start(find(homes, state))
    assert sh(first, "touch x; mkdir -m 0500 d; touch ~/kept", tmp_path) == 0
    first.stop()
    first.close()
    second = start(find(homes, state))
    assert (second.home, second.workspace, second.proxy_origin) == (first.home, first.workspace, first.proxy_origin)
    assert list(Path(second.workspace).iterdir()) == []
    assert (Path(second.home) / "kept").exists()


def test_a_link_in_the_workspaces_place_is_not_followed(homes, state, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("stays")
    first = start(find(homes, state))
    assert sh(first, f'cd .. && rm -r work && ln -s "{precious}" work', tmp_path) == 0
    first.close()
    with pytest.raises(SandboxError, match="cannot be emptied: it is a link"):
        start(find(homes, state))
    assert (precious / "file").read_text() == "stays"


def test_trials_and_groups_have_homes_of_their_own_and_a_group_that_is_over_is_removed(homes, state):
    first, other = start(find(homes, state)), start(find(homes, state, trial=2))
    assert first.home != other.home
    third = start(find(homes, state, "b"))
    assert [Path(box.home).exists() for box in (first, other, third)] == [False, False, True]
    homes.close()
    assert not Path(third.home).exists()


def test_a_home_that_another_worker_has_is_refused(homes, state):
    (state.folder / "homes").mkdir()
    home = find(homes, state)
    home._claim.write_text("1")
    with pytest.raises(SandboxError, match="another worker has it or died with it"):
        start(home)
