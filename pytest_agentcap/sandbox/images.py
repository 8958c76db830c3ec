"""An agent's image: built from its Containerfile when that, or what it copies in, has changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
from podman.errors import ImageNotFound

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.files import locked
from pytest_agentcap.sandbox.reaper import OwnerState, end_processes, state_root
from pytest_agentcap.sandbox.service import connect, explained, last_line
from pytest_agentcap.sandbox.working_containers import remove_working_containers
from pytest_agentcap.shipped import packaged

CONTAINERFILE = "Containerfile"
BASE = "base"
HASH_LABEL = "agentcap.containerfile-hash"

_BUILD_VARIABLE = "AGENTCAP_BUILD"
_CONTEXT = "context"
_CERTIFICATES = "certificates"
_STEP = re.compile(r"STEP \d+/\d+: ")
_TAIL_LINES = 12
_FAIL_TAKES_S = 20.0
_POLL_S = 0.05


def ensure_image(
    name: str,
    folder: Path,
    extra_files: Mapping[str, Path],
    uri: str,
    state: OwnerState,
    progress: Callable[[str], None],
    timeout_s: float | None = None,
) -> str:
    """Return the id of agent `name`'s image, built first unless one from the same content is there.

    `folder` holds the Containerfile and is its context, into which `extra_files` are put by their relative paths.
    Processes that need the same image wait for one build. Raises SandboxError when it cannot be built, or not within
    `timeout_s`; the layer that agents share is no part of that time.
    """
    image = image_name(name)
    wanted = content_hash(folder, extra_files)
    if name != BASE and stands_on_base(folder):
        ensure_image(BASE, base_folder(), {}, uri, state, progress)
    lock = state_root() / f"image-{name}.lock"
    with locked(lock, wait=False) as free:
        pass
    if not free:
        progress(f"waiting for {image}, which another process is building")
    with locked(lock):
        if _label(image, uri) != wanted:
            progress(f"building {image}; the first time this takes some minutes")
            _build(image, wanted, _context(folder, extra_files), state, progress, timeout_s)
        # Not its name: that may become another's, for agents of one name can come from different folders.
        found = image_id(name, uri)
    if found is None:
        raise SandboxError(f"{image} was built, and somebody has removed it")
    return found


def image_part(agent: str) -> str:
    """Return an agent's name as a part of an image's; definitions from elsewhere may have capitals and blanks."""
    return re.sub(r"[^a-z0-9]+", "-", agent.lower()).strip("-") or "agent"


def image_name(name: str) -> str:
    return f"localhost/agentcap-{name}:latest"


def image_id(name: str, uri: str) -> str | None:
    """Return the id of an agent's image, `sha256:` and its digest; None when there is none."""
    image = image_name(name)
    with explained(f"podman cannot look for {image}"), connect(uri) as client:
        try:
            return str(client.images.get(image).id)
        except ImageNotFound:
            return None


def base_folder() -> Path:
    """Return the folder of the layer that agents share."""
    return packaged("agents") / BASE


def stands_on_base(folder: Path) -> bool:
    """Tell whether an agent's image begins with the layer that agents share."""
    lines = (folder / CONTAINERFILE).read_text("utf-8").splitlines()
    return any(line.split()[:2] == ["FROM", image_name(BASE)] for line in lines)


def content_hash(folder: Path, extra_files: Mapping[str, Path]) -> str:
    """Return the SHA-256 of a Containerfile, of every file of its context, and of the shared layer if it stands on it.

    Raises SandboxError when there is no Containerfile.
    """
    if not (folder / CONTAINERFILE).is_file():
        raise SandboxError(f"{folder} has no {CONTAINERFILE}: an image cannot be built from it; use --sandbox host")
    context = _context(folder, extra_files)
    digest = hashlib.sha256(context.pop(CONTAINERFILE).read_bytes())
    for relative, path in sorted(context.items()):
        digest.update(relative.encode() + b"\0" + path.read_bytes() + b"\0")
    if stands_on_base(folder):
        digest.update(content_hash(base_folder(), {}).encode())
    return digest.hexdigest()


def _context(folder: Path, extra_files: Mapping[str, Path]) -> dict[str, Path]:
    own = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return own | dict(extra_files)


def _label(image: str, uri: str) -> str | None:
    with explained(f"podman cannot look for {image}"), connect(uri) as client:
        try:
            label = client.images.get(image).labels.get(HASH_LABEL)
        except ImageNotFound:
            return None
    return label if isinstance(label, str) else None


def _build(
    image: str,
    content: str,
    context: Mapping[str, Path],
    state: OwnerState,
    progress: Callable[[str], None],
    timeout_s: float | None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="build-", dir=state.folder) as place:
        folder = Path(place)
        for relative, path in context.items():
            target = folder / _CONTEXT / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        (folder / _CERTIFICATES).mkdir()
        if (bundle := _ca_bundle()) is not None:
            shutil.copy(bundle, folder / _CERTIFICATES / "ca.crt")
        environment = {**os.environ, **state.environment(), _BUILD_VARIABLE: place}
        _run_build(image, _build_command(image, content, folder), environment, progress, timeout_s)


def _build_command(image: str, content: str, folder: Path) -> list[str]:
    # The command line and not podman-py: its `images.build` mounts no volumes, which the CA bundle needs.
    command = ["podman", "build", "--pull=missing", "--tag", image, "--label", f"{HASH_LABEL}={content}"]
    if sys.platform == "linux":
        # Elsewhere builds run in a virtual machine, which does not see the host's files. The mount is also how the
        # containers of a build that was killed are known.
        command += ["--volume", f"{folder / _CERTIFICATES}:/run/build-ca:ro,z"]
    return [*command, "--file", str(folder / _CONTEXT / CONTAINERFILE), str(folder / _CONTEXT)]


def _ca_bundle() -> Path | None:
    """Return the host's certificates for downloads during the build: a private authority is known only there."""
    named = (os.environ.get("SSL_CERT_FILE"), os.environ.get("NODE_EXTRA_CA_CERTS"))
    candidates = [Path(name) for name in (*named, "/etc/ssl/certs/ca-certificates.crt") if name]
    return next((path.resolve() for path in candidates if path.is_file()), None)


def _run_build(
    image: str,
    command: list[str],
    environment: Mapping[str, str],
    progress: Callable[[str], None],
    timeout_s: float | None,
) -> None:
    step = "the start"
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise SandboxError("podman is not installed: install it or use --sandbox host") from error
    expired = threading.Event()

    def end() -> None:
        _end_build(process)
        end_processes(_BUILD_VARIABLE, environment[_BUILD_VARIABLE])
        remove_working_containers(Path(environment[_BUILD_VARIABLE]))

    def expire() -> None:
        expired.set()
        end()

    clock = threading.Timer(timeout_s or 0, expire)
    if timeout_s is not None:
        clock.start()
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                tail.append(line.rstrip())
                progress(tail[-1])
                step = tail[-1] if _STEP.search(line) else step
            process.wait()
        except BaseException as error:
            try:
                end()
            except SandboxError as trouble:
                error.add_note(f"ending the build failed as well: {trouble}")
            raise
        finally:
            clock.cancel()
    if expired.is_set():
        raise SandboxError(f"{image} was not built within {timeout_s:g} s: ended at {step}")
    if process.returncode != 0:
        raise SandboxError(why_not_built(image, step, list(tail)))


def _end_build(process: subprocess.Popen[str]) -> None:
    """End what a build is running: podman cleans up when a step fails, and does not when it is killed itself.

    So only what runs inside a step's container is killed, step after step until podman gives up.
    """
    deadline = time.monotonic() + _FAIL_TAKES_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                if _is_contained(child.pid):
                    child.kill()
        time.sleep(_POLL_S)


def _is_contained(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
    except OSError:
        # It has ended by itself, or this is no Linux.
        return False


def why_not_built(image: str, step: str, tail: Sequence[str]) -> str:
    """Say in one line why a build failed, by the step it was at and the last lines of its output."""
    said = last_line("\n".join(tail))
    base = re.search(r": FROM (\S+)", step)
    if base and re.search(r"registry|dial tcp|no such host|pull|resolv", said):
        advice = "make it with tools/offline-base-image" if "/debian:" in base[1] else "use --sandbox host without one"
        return f"{image} cannot be built: no registry gives its base image {base[1]}; {advice} ({said})"
    return f"{image} cannot be built: failed at {step}: " + " | ".join(line for line in tail if line)
