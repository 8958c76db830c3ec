from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.files import locked
from pytest_agentcap.sandbox.reaper import Owner, OwnerState, end_processes, is_orphaned, reap, state_root

CONTROLLER = """
    import subprocess, sys, time, os
    from pathlib import Path
    from pytest_agentcap.sandbox.reaper import Owner
    state = Owner.claim(Path(sys.argv[1]))
    (state.folder / "home").mkdir()
    (state.folder / "home").chmod(0o500)
    child = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"],
        env={**os.environ, **state.environment()}, start_new_session=True,
    )
    print(child.pid, state.id, flush=True)
    time.sleep(600)
"""


class Controller:
    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CONTROLLER), str(root)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.process.stdout is not None
        pid, owner_id = self.process.stdout.readline().split()
        self.child = psutil.Process(int(pid))
        # A process that has only just begun shows no environment yet.
        until(lambda: bool(self.child.environ()))
        self.state = OwnerState.of(owner_id, root)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(tmp_path)
    yield controller
    controller.end()
    if controller.child.is_running():
        controller.child.kill()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_what_a_killed_controller_left_is_ended_and_removed(controller: Controller, tmp_path: Path) -> None:
    controller.process.send_signal(signal.SIGKILL)
    controller.process.wait()
    assert not ended(controller.child)
    [line] = reap(tmp_path)
    assert line.startswith(f"removed what process {controller.process.pid} left behind: 0 containers,")
    assert ended(controller.child)
    assert not controller.state.folder.exists()
    assert reap(tmp_path) == []


def test_a_killed_controller_that_nobody_waited_for_is_gone_too(controller: Controller, tmp_path: Path) -> None:
    controller.process.send_signal(signal.SIGKILL)
    until(lambda: psutil.Process(controller.process.pid).status() == psutil.STATUS_ZOMBIE)
    assert len(reap(tmp_path)) == 1
    assert ended(controller.child)


def test_a_living_owner_is_left_alone(controller: Controller, tmp_path: Path) -> None:
    assert reap(tmp_path) == []
    assert not ended(controller.child)
    assert controller.state.folder.exists()


def test_an_owner_whose_process_number_was_given_again_is_gone(tmp_path: Path) -> None:
    owner = Owner.current()
    former = Owner(owner.pid, owner.started - 1, owner.namespace)
    (tmp_path / former.id).mkdir()
    assert not owner.is_gone()
    assert former.is_gone()
    assert len(reap(tmp_path)) == 1


def test_owners_of_another_pid_namespace_and_strange_folders_are_left_alone(tmp_path: Path) -> None:
    foreign = Owner(1 << 22, 1, Owner.current().namespace + 1)
    (tmp_path / foreign.id).mkdir()
    (tmp_path / "notes-from-me").mkdir()
    (tmp_path / "1-2-x").mkdir()
    assert reap(tmp_path) == []
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 3


def test_only_one_process_reaps_at_a_time(tmp_path: Path) -> None:
    owner = Owner.current()
    (tmp_path / Owner(owner.pid, owner.started - 1, owner.namespace).id).mkdir()
    with locked(tmp_path / "reap.lock"):
        assert reap(tmp_path) == []
    assert len(reap(tmp_path)) == 1


def test_an_owner_with_containers_is_kept_until_podman_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner.current()
    state = OwnerState.of(Owner(owner.pid, owner.started - 1, owner.namespace).id, tmp_path)
    state.folder.mkdir()
    state.note_podman()
    monkeypatch.setenv("PATH", str(tmp_path))
    [line] = reap(tmp_path)
    assert "could not remove all" in line
    assert "podman is not installed" in line
    assert state.folder.exists()


def test_a_claim_is_private_and_found_again_by_its_id(tmp_path: Path) -> None:
    state = Owner.claim(tmp_path)
    assert state.folder.stat().st_mode & 0o777 == 0o700
    assert OwnerState.of(state.id, tmp_path) == state
    assert Owner.parse(state.id) == Owner.current()
    state.release()
    assert not state.folder.exists()


@pytest.mark.parametrize("text", ["", "1-2", "1-2-3-4", "a-b-c", "-1-2", "1-2-٣"])
def test_what_is_no_owner_id_is_told_apart(text: str) -> None:
    assert Owner.parse(text) is None


def test_the_state_root_leaves_room_for_socket_paths() -> None:
    longest = state_root() / f"{1 << 22}-{1 << 40}-{1 << 32}" / f"w{1 << 22}" / "tmpabcdefgh" / "model.sock"
    assert len(os.fsencode(longest)) < 107


def test_processes_of_another_marker_are_spared() -> None:
    mine = subprocess.Popen(["sleep", "600"], env={**os.environ, "MARKER": "a"})
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, "MARKER": "b"})
    try:
        assert end_processes("MARKER", "a") == 1
        assert mine.wait() == -signal.SIGTERM
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_child_with_another_environment_is_ended_with_its_parent() -> None:
    script = "env -i sleep 600 & echo $!; wait"
    parent = subprocess.Popen(["sh", "-c", script], env={**os.environ, "MARKER": "c"}, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    until(lambda: child.name() == "sleep")
    assert end_processes("MARKER", "c") == 2
    assert ended(child)
    parent.wait()


def test_the_process_that_asks_and_its_ancestors_are_spared() -> None:
    script = (
        "import sys; from pytest_agentcap.sandbox.reaper import end_processes; print(end_processes('MARKER', 'self'))"
    )
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{script}"; echo alive'],
        env={**os.environ, "MARKER": "self", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["0", "alive"]


def test_a_state_root_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    root = Path("/tmp/agentcap-987654")
    root.mkdir(mode=0o755)
    try:
        with pytest.raises(SandboxError, match="is not a private folder of this user"):
            state_root()
    finally:
        root.rmdir()


def test_whose_owner_has_ended_or_is_about_to_is_orphaned(tmp_path):
    here = Owner.current()
    earlier = Owner(here.pid, here.started - 1, here.namespace)
    elsewhere = Owner(here.pid, here.started - 1, here.namespace + 1)
    states = {owner: OwnerState(owner.id, tmp_path / owner.id) for owner in (here, earlier, elsewhere)}
    for state in states.values():
        state.folder.mkdir()
    assert [is_orphaned(state.folder) for state in states.values()] == [False, True, False]
    states[here].announce_end()
    assert is_orphaned(states[here].folder)
    assert is_orphaned(tmp_path / Owner(here.pid, here.started, here.namespace + 1).id)
    assert not is_orphaned(tmp_path / "no-owner")
