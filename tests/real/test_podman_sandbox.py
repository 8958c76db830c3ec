"""The podman sandbox, in real containers of the loop agent's image."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from podman import PodmanClient

from pytest_agentcap.sandbox.base import Command, Completed, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.copyout import CopyLimits
from pytest_agentcap.sandbox.files import remove_tree
from pytest_agentcap.sandbox.images import BASE, HASH_LABEL, base_folder, content_hash, ensure_image, image_name
from pytest_agentcap.sandbox.podman import PodmanSandbox
from pytest_agentcap.sandbox.podman_session import PodmanSession
from pytest_agentcap.sandbox.reaper import (
    AGENT_LABEL,
    OWNER_LABEL,
    SESSION_LABEL,
    Owner,
    OwnerState,
    reap,
    remove_containers,
)
from pytest_agentcap.sandbox.service import PodmanService
from pytest_agentcap.sandbox.working_containers import remove_working_containers, working_containers

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

LOOP = Path(__file__).resolve().parents[2] / "agents" / "loop"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"


class Door:
    """Answer every HTTP request on a socket with `hello`."""

    def listen(self, sock: socket.socket) -> Door:
        self.sock = sock
        self.sock.settimeout(0.1)
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def _serve(self) -> None:
        while not self.closed.is_set():
            try:
                connection, _ = self.sock.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5)
                if connection.recv(65536):
                    connection.sendall(ANSWER)

    def close(self) -> None:
        self.closed.set()
        self.thread.join()


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    # Not pytest's tmp_path: the path of a unix socket may have 107 bytes at most.
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    yield root
    remove_tree(root)


@pytest.fixture(scope="module")
def state(root: Path) -> OwnerState:
    return Owner.claim(root)


@pytest.fixture(scope="module")
def service(state: OwnerState) -> Iterator[PodmanService]:
    if shutil.which("podman") is None:
        reason = "podman is not installed"
        pytest.fail(reason) if os.environ.get("AGENTCAP_REQUIRE") == "1" else pytest.skip(reason)
    service = PodmanService.start(state)
    yield service
    service.close()


@pytest.fixture
def client(service: PodmanService) -> Iterator[PodmanClient]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def sandbox(service: PodmanService, state: OwnerState) -> PodmanSandbox:
    sandbox = PodmanSandbox("loop", LOOP, service.uri, state)
    sandbox.prepare(lambda line: None)
    return sandbox


@pytest.fixture
def session(sandbox: PodmanSandbox) -> Iterator[PodmanSession]:
    session = sandbox.start("task", Door(), SandboxOptions(memory="512m", pids=128))
    yield session
    session.close()


@pytest.fixture
def sh(session: PodmanSession, tmp_path: Path) -> Callable[..., Completed]:
    def run(
        script: str,
        timeout_s: float = 60,
        tick: Callable[[], None] = lambda: None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        command = Command(
            ["sh", "-c", script], env or {}, stdin, tmp_path / "turn.out", tmp_path / "turn.err", timeout_s
        )
        return session.run(command, tick)

    return run


@pytest.fixture
def said(sh: Callable[..., Completed], tmp_path: Path) -> Callable[[str], str]:
    def run(script: str) -> str:
        (tmp_path / "turn.out").unlink(missing_ok=True)
        assert sh(script).exit_code == 0, (tmp_path / "turn.err").read_text()
        return (tmp_path / "turn.out").read_text()

    return run


def containers(client: PodmanClient, owner: str) -> list[str]:
    listed = client.containers.list(all=True, filters={"label": f"{OWNER_LABEL}={owner}"})
    return [container.id for container in listed]


def command_lines() -> list[list[str]]:
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]


def test_the_relay_reaches_the_proxy(session: PodmanSession, said: Callable[[str], str]) -> None:
    assert said(f"curl -sS {session.proxy_origin}/v1/models") == "hello\n"
    assert said(f"for i in $(seq 20); do curl -sS {session.proxy_origin}/$i & done; wait") == "hello\n" * 20


def test_nothing_else_can_be_reached(sh: Callable[..., Completed], said: Callable[[str], str]) -> None:
    assert sh("curl -sS --max-time 5 http://1.1.1.1/").exit_code == 7
    assert sh("curl -sS --max-time 5 http://10.88.0.1/").exit_code == 7
    assert sh("getent hosts deb.debian.org").exit_code == 2
    assert said("ls /sys/class/net").split() == ["lo"]


def test_the_agent_has_no_privileges(said: Callable[[str], str], sh: Callable[..., Completed]) -> None:
    assert said("id -un").strip() == "agent"
    status = dict(line.split(":", 1) for line in said("cat /proc/self/status").splitlines())
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"].strip() == "1"
    assert sh("touch /run/agentcap/planted").exit_code != 0
    assert sh("rm -f /run/agentcap/model.sock").exit_code != 0


def test_limits_and_labels_are_set(client: PodmanClient, session: PodmanSession, state: OwnerState) -> None:
    [container] = containers(client, state.id)
    facts = client.containers.get(container).inspect()
    limits, labels = facts["HostConfig"], facts["Config"]["Labels"]
    assert (labels[OWNER_LABEL], labels[SESSION_LABEL], labels[AGENT_LABEL]) == (state.id, "task", "loop")
    assert (limits["Memory"], limits["PidsLimit"], limits["NetworkMode"]) == (512 << 20, 128, "none")


def test_no_variable_of_the_host_reaches_the_agent(sh: Callable[..., Completed], said: Callable[[str], str]) -> None:
    names = {line.partition("=")[0] for line in said("env").splitlines()}
    assert names <= {"PATH", "HOME", "PWD", "TERM", "container", "HOSTNAME", "DEBIAN_FRONTEND", "SHLVL", "_", "OLDPWD"}


def test_output_exit_code_and_environment(sh: Callable[..., Completed], tmp_path: Path) -> None:
    completed = sh('pwd; echo "$KEY $HOME"; echo err >&2; exit 3', env={"KEY": "a b"})
    assert (completed.exit_code, completed.timed_out) == (3, False)
    assert (tmp_path / "turn.out").read_text() == "/work\na b /home/agent\n"
    assert (tmp_path / "turn.err").read_text() == "err\n"


def test_a_program_that_is_not_there_fails(session: PodmanSession, tmp_path: Path) -> None:
    command = Command(["no-such-agent"], {}, None, tmp_path / "out", tmp_path / "err", 60)
    assert session.run(command, lambda: None).exit_code == 127
    assert "no-such-agent" in (tmp_path / "err").read_text()


def test_large_output_on_both_streams_arrives_whole(sh: Callable[..., Completed], tmp_path: Path) -> None:
    sh("head -c 5000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait")
    assert (tmp_path / "turn.out").stat().st_size == 5_000_000
    assert (tmp_path / "turn.err").stat().st_size == 3_000_000


def test_output_is_written_while_the_command_runs(sh: Callable[..., Completed], tmp_path: Path) -> None:
    seen: list[str] = []

    def tick() -> None:
        if (tmp_path / "turn.out").read_text() == "first\n" and not seen:
            seen.append("first")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sh("echo first; sleep 600", tick=tick)
    assert seen == ["first"]


def test_standard_input_is_given_and_is_not_on_a_command_line(sh: Callable[..., Completed], tmp_path: Path) -> None:
    prompt = b"a prompt with 'quotes' and $vars\n" * 10_000
    sh("cat; ps axww -o args >&2; ls -A /tmp >&2", stdin=prompt)
    assert (tmp_path / "turn.out").read_bytes() == prompt
    listing = (tmp_path / "turn.err").read_text()
    assert "quotes" not in listing
    assert "agentcap-" not in listing.splitlines()[-1]


def test_without_input_standard_input_is_empty(said: Callable[[str], str]) -> None:
    assert said("cat; echo end") == "end\n"


def test_what_was_started_in_the_background_does_not_hold_up_the_turn(
    sh: Callable[..., Completed], said: Callable[[str], str]
) -> None:
    assert sh("sleep 700 & echo started").exit_code == 0
    assert "sleep 700" in said("ps ax -o args")


def test_a_timeout_ends_the_agent_keeps_its_output_and_spares_the_relay(
    sh: Callable[..., Completed], said: Callable[[str], str], session: PodmanSession, tmp_path: Path
) -> None:
    script = (
        "trap 'echo saved; exit' TERM; setsid sleep 601 & (trap '' TERM; sleep 602) & echo before; sleep 603 & wait"
    )
    completed = sh(script, timeout_s=2)
    assert (completed.exit_code, completed.timed_out) == (None, True)
    assert (tmp_path / "turn.out").read_text() == "before\nsaved\n"
    assert "sleep" not in said("ps ax -o args")
    assert said(f"curl -sS {session.proxy_origin}/") == "hello\n"


def test_an_agent_at_its_process_limit_is_ended_too(
    sh: Callable[..., Completed], session: PodmanSession, tmp_path: Path
) -> None:
    assert sh("echo kept >file; while :; do sh -c 'while :; do sleep 600 & done'; done", timeout_s=5).timed_out
    session.stop()
    into = tmp_path / "into"
    into.mkdir()
    assert session.copy_out("/work", into) == []
    assert (into / "file").read_text() == "kept\n"


def test_an_interrupt_ends_the_command_first(sh: Callable[..., Completed], said: Callable[[str], str]) -> None:
    def tick() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sh("sleep 801", tick=tick)
    assert "sleep 801" not in said("ps ax -o args")


def test_files_are_put_where_they_belong_and_owned_by_the_agent(
    session: PodmanSession, said: Callable[[str], str]
) -> None:
    before = said("stat -c '%n %u %a' / /home /home/agent /work /tmp")
    session.put("/home/agent/.config/loop/a.json", b"{}", 0o600)
    session.put("/home/agent/.config/b", b"b")
    session.put("notes/c", b"c")
    listing = said("cd; find .config /work/notes -printf '%p %u %m\\n' | sort")
    assert listing.splitlines() == [
        ".config agent 755",
        ".config/b agent 644",
        ".config/loop agent 755",
        ".config/loop/a.json agent 600",
        "/work/notes agent 755",
        "/work/notes/c agent 644",
    ]
    assert said("stat -c '%n %u %a' / /home /home/agent /work /tmp") == before


def test_a_tree_is_put_in_and_copied_out(session: PodmanSession, said: Callable[[str], str], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "run").write_text("#!/bin/sh\necho ran\n")
    (tree / "inner" / "run").chmod(0o755)
    (tree / "secret").symlink_to("/etc/shadow")
    os.mkfifo(tree / "fifo")
    os.link(tree / "inner" / "run", tree / "same")
    session.put_tree(tree, "/work")
    session.put_tree(tree, "/work/deep/er")
    assert said("inner/run; deep/er/same") == "ran\nran\n"
    assert said("readlink secret; ls").split() == ["/etc/shadow", "deep", "inner", "same", "secret"]
    said("ln inner/run hard; mkfifo pipe; ln -s .. up; chmod 6755 inner/run")
    into = tmp_path / "into"
    into.mkdir()
    assert session.copy_out("/work", into) == ["'pipe' is no regular file but a device or a FIFO"]
    assert (into / "hard").read_text() == "#!/bin/sh\necho ran\n"
    assert (into / "secret").read_text() == "/etc/shadow"
    assert (into / "up").read_text() == ".."
    assert (into / "inner" / "run").stat().st_mode & 0o7700 == 0o700


def test_copying_out_what_is_not_there_is_reported(session: PodmanSession, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    assert session.copy_out("/home/agent/absent", into) == ["'/home/agent/absent' is not there"]


def test_a_huge_file_ends_the_copy_without_being_read(
    service: PodmanService, state: OwnerState, tmp_path: Path
) -> None:
    limits = CopyLimits(total_bytes=1 << 20, stream_bytes=2 << 20)
    session = PodmanSandbox("loop", LOOP, service.uri, state, limits=limits).start("huge", Door(), SandboxOptions())
    try:
        command = Command(["sh", "-c", "echo a >a; truncate -s 1T b"], {}, None, tmp_path / "o", tmp_path / "e", 60)
        assert session.run(command, lambda: None).exit_code == 0
        into = tmp_path / "into"
        into.mkdir()
        [line] = session.copy_out("/work", into)
        assert line.startswith("'work/b' and all after it")
        assert (into / "a").read_text() == "a\n"
    finally:
        session.close()


def test_after_a_stop_files_can_be_read_and_commands_cannot_be_run(
    sh: Callable[..., Completed], session: PodmanSession, tmp_path: Path
) -> None:
    sh("echo x >file")
    session.stop()
    session.stop()
    into = tmp_path / "into"
    into.mkdir()
    assert session.copy_out("/work", into) == []
    assert (into / "file").read_text() == "x\n"
    with pytest.raises(SandboxError, match="cannot be started in the container"):
        sh("true")


def test_closing_leaves_nothing_and_may_be_repeated(
    sandbox: PodmanSandbox, client: PodmanClient, state: OwnerState
) -> None:
    session = sandbox.start("to-close", Door(), SandboxOptions())
    [container] = containers(client, state.id)
    session.close()
    session.close()
    assert containers(client, state.id) == []
    assert not [command for command in command_lines() if container in command]
    assert list(state.folder.glob("w*/*")) == []


def test_a_start_that_fails_leaves_nothing(service: PodmanService, state: OwnerState, client: PodmanClient) -> None:
    class Deaf:
        def listen(self, sock: socket.socket) -> Deaf:
            sock.close()
            return self

        def close(self) -> None:
            pass

    sandbox = PodmanSandbox("loop", LOOP, service.uri, state)
    with pytest.raises(SandboxError, match="the proxy cannot be reached from inside the container"):
        sandbox.start("deaf", Deaf(), SandboxOptions())
    assert containers(client, state.id) == []
    assert list(state.folder.glob("w*/*")) == []


def test_an_open_network_reaches_the_proxy_as_well(service: PodmanService, state: OwnerState, tmp_path: Path) -> None:
    session = PodmanSandbox("loop", LOOP, service.uri, state).start("open", Door(), SandboxOptions(network="open"))
    try:
        script = f"curl -sS {session.proxy_origin}/; ls /sys/class/net"
        command = Command(["sh", "-c", script], {}, None, tmp_path / "out", tmp_path / "err", 60)
        assert session.run(command, lambda: None).exit_code == 0
        first, *interfaces = (tmp_path / "out").read_text().split()
        assert first == "hello"
        assert "eth0" in interfaces
    finally:
        session.close()


def test_an_image_is_built_once_for_the_same_content(
    service: PodmanService, state: OwnerState, client: PodmanClient, tmp_path: Path
) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "Containerfile").write_text(
        "FROM localhost/agentcap-loop:latest\nCOPY note extra /\nRUN cat /note /extra\n"
    )
    (folder / "note").write_text("a note")
    (tmp_path / "extra").write_text("an extra file")
    lines: list[str] = []

    def build() -> str:
        return ensure_image("test-images", folder, {"extra": tmp_path / "extra"}, service.uri, state, lines.append)

    image, first_id = "localhost/agentcap-test-images:latest", build()
    try:
        assert lines[0].startswith(f"building {image}")
        assert any("STEP 3/3" in line or "STEP 3/4" in line for line in lines)
        first = client.images.get(image)
        assert first.id == first_id
        lines.clear()
        assert build() == first_id
        assert lines == []
        assert client.images.get(image).id == first.id
        (folder / "note").write_text("another note")
        assert build() != first_id
        assert client.images.get(image).labels[HASH_LABEL] != first.labels[HASH_LABEL]
    finally:
        client.images.remove(image, force=True)


def test_the_shared_layer_has_what_agents_need(service: PodmanService, state: OwnerState, client: PodmanClient) -> None:
    image = ensure_image(BASE, base_folder(), {}, service.uri, state, lambda line: None)
    assert client.images.get(image).labels[HASH_LABEL] == content_hash(base_folder(), {})
    script = "node --version; python3 --version; for p in npm git socat curl; do command -v $p; done"
    script += "; id -u agent; stat -c %U /work"
    done = subprocess.run(
        ["podman", "run", "--rm", "--network", "none", image, "sh", "-c", script], capture_output=True, text=True
    )
    node, python, *programs = done.stdout.split("\n")
    assert node.startswith("v22.")
    assert python.startswith("Python 3.")
    assert [program.rpartition("/")[2] for program in programs[:4]] == ["npm", "git", "socat", "curl"]
    assert programs[4:6] == ["1000", "agent"]


def test_who_needs_an_image_that_is_being_built_waits_and_says_so(
    service: PodmanService, state: OwnerState, client: PodmanClient, tmp_path: Path
) -> None:
    token = secrets.token_hex(4)
    (tmp_path / "Containerfile").write_text(f"FROM {image_name(BASE)}\nRUN echo {token}; sleep 3\n")
    building, said = threading.Event(), [list[str](), list[str]()]

    def build(number: int) -> None:
        def progress(line: str) -> None:
            said[number].append(line)
            if line == token:
                building.set()

        ensure_image("test-waits", tmp_path, {}, service.uri, state, progress)

    first, second = (threading.Thread(target=build, args=(number,)) for number in (0, 1))
    try:
        first.start()
        assert building.wait(60)
        second.start()
        first.join()
        second.join()
        assert any(token in line for line in said[0])
        assert said[1] == ["waiting for localhost/agentcap-test-waits:latest, which another process is building"]
    finally:
        client.images.remove("localhost/agentcap-test-waits:latest", force=True)


def test_a_build_that_fails_names_its_step(service: PodmanService, state: OwnerState, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("FROM localhost/agentcap-loop:latest\nRUN echo said >&2; exit 9\n")
    with pytest.raises(SandboxError, match=r"STEP 2/\d.*exit 9.*said") as caught:
        ensure_image("test-fails", tmp_path, {}, service.uri, state, lambda line: None)
    assert "\n" not in str(caught.value)


def test_an_interrupted_build_leaves_no_process_and_no_working_container(
    service: PodmanService, state: OwnerState, tmp_path: Path
) -> None:
    token = secrets.token_hex(4)
    (tmp_path / "Containerfile").write_text(f"FROM localhost/agentcap-loop:latest\nRUN echo {token}; sleep 600\n")

    def progress(line: str) -> None:
        if line == token:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_image("test-interrupted", tmp_path, {}, service.uri, state, progress)
    assert not [command for command in command_lines() if any(token in argument for argument in command)]
    assert list(state.folder.glob("build-*")) == []
    assert working_containers(state.folder) == []


def test_a_killed_build_leaves_working_containers_that_are_known_by_its_owner(
    service: PodmanService, state: OwnerState, tmp_path: Path
) -> None:
    token = secrets.token_hex(4)
    (tmp_path / "Containerfile").write_text(f"FROM localhost/agentcap-loop:latest\nRUN echo {token}; sleep 600\n")

    def progress(line: str) -> None:
        if line == token:
            builds = [
                process
                for process in psutil.process_iter(["cmdline"])
                if "build" in (words := process.info["cmdline"] or []) and str(state.folder) in words[-1]
            ]
            # podman first, so that it does not see the step end.
            for process in [*builds, *(child for build in builds for child in build.children(recursive=True))]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    with pytest.raises(SandboxError, match="cannot be built"):
        ensure_image("test-killed", tmp_path, {}, service.uri, state, progress)
    assert len(working_containers(state.folder)) == remove_working_containers(state.folder) > 0
    assert working_containers(state.folder) == []


CONTROLLER = """
    import sys, time
    from pathlib import Path
    from pytest_agentcap.sandbox.base import SandboxOptions
    from pytest_agentcap.sandbox.podman import PodmanSandbox
    from pytest_agentcap.sandbox.reaper import Owner
    from pytest_agentcap.sandbox.service import PodmanService

    class Door:
        def listen(self, sock):
            return sock

    state = Owner.claim(Path(sys.argv[1]))
    service = PodmanService.start(state)
    sandbox = PodmanSandbox("loop", Path(sys.argv[2]), service.uri, state)
    session = sandbox.start("orphan", Door(), SandboxOptions())
    print(state.id, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_controller_left_is_reaped(sandbox: PodmanSandbox, client: PodmanClient, root: Path) -> None:
    controller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CONTROLLER), str(root), str(LOOP)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert controller.stdout is not None
        owner = controller.stdout.readline().strip()
        assert len(containers(client, owner)) == 1
        assert reap(root) == []
    finally:
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    [line] = reap(root)
    assert "1 containers" in line
    assert containers(client, owner) == []
    assert not (root / owner).exists()
    assert not marked(owner)


def marked(owner: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AGENTCAP_OWNER") == owner:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_service_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "podman").write_text("#!/bin/sh\necho 'Error: no storage' >&2\nexit 125\n")
    (programs / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    with pytest.raises(SandboxError, match=r"ended at once \(Error: no storage\).*--sandbox host"):
        PodmanService.start(Owner.claim(tmp_path))


def test_an_absent_podman_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"podman is not installed: .* or use --sandbox host"):
        PodmanService.start(Owner.claim(tmp_path))


def test_a_service_named_by_container_host_is_used(
    service: PodmanService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Owner.claim(tmp_path)
    monkeypatch.setenv("CONTAINER_HOST", service.uri)
    with PodmanService.start(state).client() as client:
        assert client.ping()
    assert remove_containers("1-2-3") == 0
    monkeypatch.setenv("CONTAINER_HOST", "unix:///nowhere/podman.sock")
    with pytest.raises(SandboxError, match=r"no podman service answers at unix:///nowhere/podman.sock"):
        PodmanService.start(state)
