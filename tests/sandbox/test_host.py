from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from pytest_agentcap.sandbox.base import Command, Completed, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.host import HostSandbox, HostSession
from pytest_agentcap.sandbox.reaper import Owner, OwnerState


class Hello:
    """Serve one line to every connection."""

    def listen(self, sock: socket.socket) -> Hello:
        self.sock = sock
        self.sock.settimeout(0.1)
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def _serve(self) -> None:
        while not self.closed.is_set():
            try:
                connection, _ = self.sock.accept()
            except TimeoutError:
                continue
            with connection:
                connection.sendall(b"hello\n")

    def close(self) -> None:
        self.closed.set()
        self.thread.join()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def nothing() -> None:
    pass


@pytest.fixture
def state(tmp_path: Path) -> OwnerState:
    return Owner.claim(tmp_path)


@pytest.fixture
def session(state: OwnerState) -> Iterator[HostSession]:
    session = HostSandbox(None, state).start("task", Hello(), SandboxOptions())
    yield session
    session.close()


@pytest.fixture
def sh(session: HostSession, tmp_path: Path) -> Callable[..., Completed]:
    def run(
        script: str,
        timeout_s: float = 60,
        tick: Callable[[], None] = nothing,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        command = Command(["sh", "-c", script], env or {}, stdin, out(tmp_path), err(tmp_path), timeout_s)
        return session.run(command, tick)

    return run


def out(tmp_path: Path) -> Path:
    return tmp_path / "turn.out"


def err(tmp_path: Path) -> Path:
    return tmp_path / "turn.err"


def test_output_and_exit_code_are_told(sh: Callable[..., Completed], tmp_path: Path) -> None:
    completed = sh("echo out; echo err >&2; exit 3")
    assert (completed.exit_code, completed.timed_out) == (3, False)
    assert out(tmp_path).read_text() == "out\n"
    assert err(tmp_path).read_text() == "err\n"


def test_home_workspace_and_temporary_folder_are_fresh_and_kept_over_turns(
    sh: Callable[..., Completed], session: HostSession, tmp_path: Path
) -> None:
    sh('ls -A "$HOME" . "$TMPDIR" | grep -v :; touch "$HOME/x"')
    assert out(tmp_path).read_text().split() == []
    sh('ls "$HOME"; pwd; echo "$HOME"')
    assert out(tmp_path).read_text().split() == ["x", session.workspace, session.home]
    assert session.home != os.environ.get("HOME")


def test_only_allowed_variables_reach_the_command(
    sh: Callable[..., Completed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    sh("env", env={"OPENAI_API_KEY": "a-lease"})
    variables = dict(line.split("=", 1) for line in out(tmp_path).read_text().splitlines())
    allowed = {"PATH", "LANG", "LC_ALL", "TERM", "TZ", "HOME", "TMPDIR", "OPENAI_API_KEY", "PWD", "SHLVL", "_"}
    assert {name for name in variables if not name.startswith("LC_")} <= {
        *allowed,
        "AGENTCAP_OWNER",
        "AGENTCAP_SESSION",
    }
    assert variables["LC_ALL"] == "C.UTF-8"
    assert variables["OPENAI_API_KEY"] == "a-lease"


def test_one_that_inherits_has_the_users_environment_and_home(
    state: OwnerState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    monkeypatch.setenv("OWN_KEY", "mine")
    monkeypatch.setenv("AGENTCAP_API_KEY", "ours")
    session = HostSandbox(None, state, inherits=True).start("task", Hello(), SandboxOptions())
    session.run(Command(["env"], {}, None, out(tmp_path), err(tmp_path), 60), nothing)
    session.close()
    variables = dict(line.split("=", 1) for line in out(tmp_path).read_text().splitlines() if "=" in line)
    assert (variables["HOME"], variables["OWN_KEY"]) == ("/somebody", "mine")
    assert variables["TMPDIR"] != os.environ.get("TMPDIR")
    assert not {"AGENTCAP_API_KEY", "PYTEST_CURRENT_TEST"} & set(variables)


def test_standard_input_is_what_was_given_or_empty(sh: Callable[..., Completed], tmp_path: Path) -> None:
    sh("cat", stdin=b"a prompt\n" * 100_000)
    sh("cat; readlink /proc/self/fd/0")
    assert out(tmp_path).read_text() == "a prompt\n" * 100_000 + "/dev/null\n"


def test_the_proxy_is_reached_at_its_origin(sh: Callable[..., Completed], session: HostSession, tmp_path: Path) -> None:
    port = session.proxy_origin.rpartition(":")[2]
    read = f"import socket; print(socket.create_connection(('127.0.0.1', {port})).makefile().read(), end='')"
    sh(f'"{sys.executable}" -c "{read}"')
    assert out(tmp_path).read_text() == "hello\n"


def test_the_proxy_listens_on_this_machine_only(state: OwnerState) -> None:
    hello = Hello()
    session = HostSandbox(None, state).start("task", hello, SandboxOptions())
    assert hello.sock.getsockname() == ("127.0.0.1", int(session.proxy_origin.rpartition(":")[2]))
    session.close()


def test_a_timeout_ends_the_whole_group_and_keeps_the_output(
    sh: Callable[..., Completed], session: HostSession, tmp_path: Path
) -> None:
    script = "echo before; setsid sleep 1001 & sleep 1002 & env -i sleep 1003 & echo started >started; sleep 1004"
    completed = sh(script, timeout_s=3)
    assert (completed.exit_code, completed.timed_out) == (None, True)
    assert (Path(session.workspace) / "started").exists()
    assert out(tmp_path).read_text() == "before\n"
    assert not {"1001", "1002", "1003", "1004"} & sleepers()


def sleepers() -> set[str]:
    found = set()
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if command[:1] == ["sleep"] and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(command[1])
    return found


def test_a_command_may_clean_up_when_it_is_told_to_end(sh: Callable[..., Completed], tmp_path: Path) -> None:
    sh("trap 'echo saved; exit' TERM; echo ready; while :; do sleep 0.05; done", timeout_s=1)
    assert out(tmp_path).read_text() == "ready\nsaved\n"


def test_a_command_that_ignores_the_end_is_killed(sh: Callable[..., Completed]) -> None:
    assert sh("trap '' TERM; while :; do sleep 0.05; done", timeout_s=0.5).timed_out


def test_what_a_turn_left_in_the_background_is_ended_with_it(sh: Callable[..., Completed]) -> None:
    assert sh("setsid sleep 2001 >/dev/null 2>&1 & sleep 2002 & exit 0").exit_code == 0
    assert not {"2001", "2002"} & sleepers()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_tick_that_raises_ends_the_command_first(
    sh: Callable[..., Completed], session: HostSession, error: type[BaseException]
) -> None:
    marker = Path(session.workspace) / "started"

    def tick() -> None:
        if marker.exists():
            raise error

    with pytest.raises(error):
        sh("touch started; sleep 3001", tick=tick)
    assert "3001" not in sleepers()


def test_a_program_that_is_not_there_is_named(session: HostSession, tmp_path: Path) -> None:
    command = Command(["no-such-agent"], {}, None, out(tmp_path), err(tmp_path), 10)
    with pytest.raises(SandboxError, match="no-such-agent cannot be started"):
        session.run(command, nothing)


def test_an_absent_executable_is_named_with_what_to_do(state: OwnerState) -> None:
    with pytest.raises(
        SandboxError, match="no-such-agent is not on PATH: install it, or use --sandbox podman if it has an image"
    ):
        HostSandbox("no-such-agent", state).prepare(lambda line: None)


def test_files_and_trees_are_put_in(session: HostSession, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "script").write_text("#!/bin/sh\n")
    (tree / "inner" / "script").chmod(0o755)
    (tree / "link").symlink_to("inner")
    os.mkfifo(tree / "fifo")
    session.put_tree(tree, session.workspace)
    session.put(f"{session.home}/.config/agent.json", b"{}", 0o600)
    workspace = Path(session.workspace)
    assert sorted(path.name for path in workspace.iterdir()) == ["inner", "link"]
    assert (workspace / "link").readlink() == Path("inner")
    assert os.access(workspace / "inner" / "script", os.X_OK)
    config = Path(session.home) / ".config" / "agent.json"
    assert (config.read_bytes(), config.stat().st_mode & 0o777) == (b"{}", 0o600)


def test_a_planted_link_is_replaced_and_not_written_through(session: HostSession, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    planted = Path(session.home) / "config"
    planted.symlink_to(outside)
    session.put(str(planted), b"new")
    assert outside.read_text() == "untouched"
    assert planted.read_bytes() == b"new"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x"])
def test_nothing_outside_of_the_session_is_touched(session: HostSession, tmp_path: Path, path: str) -> None:
    (tmp_path / "into").mkdir()
    with pytest.raises(SandboxError, match="outside of the sandbox"):
        session.put(path, b"x")
    with pytest.raises(SandboxError, match="outside of the sandbox"):
        session.copy_out(path, tmp_path / "into")


def test_a_folder_is_copied_out(sh: Callable[..., Completed], session: HostSession, tmp_path: Path) -> None:
    sh("mkdir -p d; echo x >d/f; ln -s /etc/passwd link; mkfifo fifo")
    into = tmp_path / "into"
    into.mkdir()
    assert session.copy_out(session.workspace, into) == ["'fifo' is no regular file but a FIFO"]
    assert (into / "d" / "f").read_text() == "x\n"
    assert (into / "link").read_text() == "/etc/passwd"


def test_closing_removes_everything_even_read_only_folders_and_may_be_repeated(
    sh: Callable[..., Completed], session: HostSession, state: OwnerState
) -> None:
    sh("mkdir -p a/b; touch a/b/c; chmod 0500 a/b a")
    session.close()
    session.close()
    assert list(state.folder.iterdir()) == []


def test_the_session_is_removed_when_the_doorway_fails(state: OwnerState) -> None:
    class Broken:
        def listen(self, sock: socket.socket) -> Hello:
            raise OSError("no thread")

    with pytest.raises(OSError, match="no thread"):
        HostSandbox(None, state).start("task", Broken(), SandboxOptions())
    assert list(state.folder.iterdir()) == []


def test_the_agent_runs_in_a_session_of_its_own(sh: Callable[..., Completed], tmp_path: Path) -> None:
    sh('ps -o sid= -p $$ 2>/dev/null || cut -d" " -f6 /proc/$$/stat')
    assert int(out(tmp_path).read_text()) != os.getsid(0)
