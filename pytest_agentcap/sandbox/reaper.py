"""Owners of what sessions start, and the end of what a dead owner left behind.

An owner is a pytest controller. Its id goes, as an environment variable, to every process that is started for it, as a
label to every container, and as a name to the folder of its sockets and temporary homes. Workers of pytest-xdist are
other processes that work for the same owner: they are handed its id.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.files import locked, remove_tree
from pytest_agentcap.sandbox.podman_command import run_podman
from pytest_agentcap.sandbox.working_containers import remove_working_containers

OWNER_VARIABLE = "AGENTCAP_OWNER"
SESSION_VARIABLE = "AGENTCAP_SESSION"
OWNER_LABEL = "agentcap.owner"
SESSION_LABEL = "agentcap.session"
AGENT_LABEL = "agentcap.agent"

_USES_PODMAN = "uses-podman"
_ENDING = "ending"
_POLL_S = 0.05
_KILL_TAKES_S = 10.0
_PF_EXITING = 0x4  # include/linux/sched.h


@dataclass(frozen=True, slots=True)
class OwnerState:
    """Name an owner by its id, and the folder (0700, short enough for socket paths) of all that is temporary."""

    id: str
    folder: Path

    @classmethod
    def of(cls, owner_id: str, root: Path | None = None) -> OwnerState:
        """Find the state of an owner that another process claimed, by the id it handed over."""
        return cls(owner_id, (root or state_root()) / owner_id)

    def environment(self) -> dict[str, str]:
        """Return the variables that mark a process as this owner's."""
        return {OWNER_VARIABLE: self.id}

    def note_podman(self) -> None:
        """Leave word for the reaper that this owner may have containers."""
        (self.folder / _USES_PODMAN).touch()

    def announce_end(self) -> None:
        """Let workers know that what ends now was ended by their owner, and that nothing is to begin."""
        if self.folder.is_dir():
            (self.folder / _ENDING).touch()

    def release(self) -> None:
        """End every marked process and remove the folder; containers are for `remove_containers`."""
        end_processes(OWNER_VARIABLE, self.id)
        remove_tree(self.folder)


@dataclass(frozen=True, slots=True)
class Owner:
    """Identify a process for good: its number, when it started, and the namespace in which the number counts."""

    pid: int
    started: int
    namespace: int

    @classmethod
    def current(cls) -> Owner:
        started = _started(os.getpid())
        if started is None:
            raise SandboxError("this process cannot find itself in the process table: is /proc mounted?")
        return cls(os.getpid(), started, _pid_namespace())

    @classmethod
    def parse(cls, owner_id: str) -> Owner | None:
        """Read an id back; None when it is none."""
        numbers = owner_id.split("-")
        if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
            return None
        return cls(*map(int, numbers))

    @classmethod
    def claim(cls, root: Path | None = None) -> OwnerState:
        """Make the state folder of this process, its owner from now on.

        Raises SandboxError when the folder above it belongs to somebody else.
        """
        state = OwnerState.of(cls.current().id, root)
        state.folder.mkdir(mode=0o700, exist_ok=True)
        return state

    @property
    def id(self) -> str:
        return f"{self.pid}-{self.started}-{self.namespace}"

    def is_gone(self) -> bool:
        """Say whether the process has ended; False when that cannot be known from here."""
        return self.namespace == _pid_namespace() and _started(self.pid) != self.started


def is_orphaned(folder: Path) -> bool:
    """Say whether the owner of a state folder has ended or is ending: what works for it may be ended at any moment."""
    owner = Owner.parse(folder.name)
    if owner is None:
        return False
    return not folder.is_dir() or (folder / _ENDING).exists() or owner.is_gone()


def state_root() -> Path:
    """Return this user's folder of owner states, made on first use.

    It is in /tmp, whatever TMPDIR says, because the path of a unix socket may have 107 bytes at most.
    Raises SandboxError when somebody else made it.
    """
    root = Path(f"/tmp/agentcap-{os.getuid()}")
    root.mkdir(mode=0o700, exist_ok=True)
    status = root.lstat()
    if root.is_symlink() or not root.is_dir() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SandboxError(f"{root} is not a private folder of this user: remove it and try again")
    return root


def reap(root: Path | None = None) -> list[str]:
    """End and remove what dead owners left behind: containers, processes, folders. Return one line for each owner.

    Living owners are left alone, and so are those of another pid namespace, of whom nothing can be known. When another
    process is reaping at this moment, nothing is done.
    """
    root = root or state_root()
    lines: list[str] = []
    with locked(root / "reap.lock", wait=False) as held:
        if not held:
            return lines
        for folder in sorted(root.iterdir()):
            owner = Owner.parse(folder.name)
            if owner is None or not owner.is_gone():
                continue
            try:
                lines.append(_reap_owner(OwnerState(owner.id, folder)))
            except (SandboxError, OSError) as error:
                lines.append(f"could not remove all that process {owner.pid} left behind in {folder}: {error}")
    return lines


def remove_containers(owner_id: str) -> int:
    """Remove every container that carries an owner's label; return how many there were.

    Raises SandboxError.
    """
    if shutil.which("podman") is None:
        raise SandboxError("podman is not installed, so containers cannot be removed")
    listed = run_podman("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={OWNER_LABEL}={owner_id}").split()
    if listed:
        run_podman("rm", "--force", "--time", "0", "--volumes", *listed)
        end_monitors(listed)
    return len(listed)


def end_monitors(containers: Collection[str]) -> None:
    """End the monitor processes that podman keeps for five minutes after each exec, of containers that are removed."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "conmon" and not set(containers).isdisjoint(process.info["cmdline"] or ()):
            _signal([process], signal.SIGKILL)


def end_processes(name: str, value: str, grace_s: float = 2.0) -> int:
    """End the processes that have `name=value` in their environment, and their descendants; return how many there were.

    They get TERM, and KILL after `grace_s` seconds. This process and those it descends from are spared. Raises
    SandboxError when one cannot be ended.
    """
    found = _marked(name, value)
    seen = set(found)
    _signal(found, signal.SIGTERM)
    kill_at = time.monotonic() + grace_s
    while left := {process for process in seen if _lives(process)}:
        now = time.monotonic()
        if now >= kill_at + _KILL_TAKES_S:
            raise SandboxError(f"processes {sorted(process.pid for process in left)} cannot be ended")
        if now >= kill_at:
            _signal(left, signal.SIGKILL)
        time.sleep(_POLL_S)
        seen |= _marked(name, value)
    return len(seen)


def _reap_owner(state: OwnerState) -> str:
    uses_podman = (state.folder / _USES_PODMAN).exists()
    containers = remove_containers(state.id) if uses_podman else 0
    processes = end_processes(OWNER_VARIABLE, state.id)
    if uses_podman:
        containers += remove_working_containers(state.folder)
    remove_tree(state.folder)
    return (
        f"removed what process {state.id.partition('-')[0]} left behind: {containers} containers, {processes} processes"
    )


def _marked(name: str, value: str) -> set[psutil.Process]:
    this = psutil.Process()
    spared = {this.pid, *(parent.pid for parent in this.parents())}
    marked = {pid for pid in psutil.pids() if pid not in spared and _has(pid, name, value)}
    if not marked:
        return set()
    processes = {process for process in psutil.process_iter(["ppid"]) if process.pid not in spared}
    found = {process for process in processes if process.pid in marked}
    # A child that was given another environment is found by its parent.
    newest = found
    while newest:
        parents = {process.pid for process in newest}
        newest = {process for process in processes - found if process.info["ppid"] in parents}
        found |= newest
    return found


def _has(pid: int, name: str, value: str) -> bool:
    if sys.platform == "linux":
        # Each session's end looks through all processes of the machine: psutil takes ten times as long.
        try:
            return f"{name}={value}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
    try:
        return bool(psutil.Process(pid).environ().get(name) == value)
    except psutil.Error:
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    # Parents first: a shell whose command ends before itself says so on its standard error.
    for process in sorted(processes, key=_age):
        try:
            process.send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _age(process: psutil.Process) -> tuple[float, int]:
    try:
        return process.create_time(), process.pid
    except psutil.NoSuchProcess:
        return 0.0, process.pid


def _started(pid: int) -> int | None:
    """Return a number that tells a process from later ones with its pid; None when it has ended."""
    if sys.platform == "linux":
        # Ticks since boot. psutil's time of day moves with every step of the clock, and a living owner would look dead.
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # A process that is ending has the flag before its pipes close, which is how its workers learn of it.
        return None if fields[0] in "ZX" or int(fields[6]) & _PF_EXITING else int(fields[19])
    try:
        return int(psutil.Process(pid).create_time() * 1000)
    except psutil.NoSuchProcess:
        return None


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino if sys.platform == "linux" else 0
