"""Containers of a task that brings its own image: the task's Dockerfile, and the agent's layer on top of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytest_agentcap.corpus.harbortask import DOCKERFILE, SOLUTION, HarborTask, TaskContainer
from pytest_agentcap.runs.names import safe_name
from pytest_agentcap.sandbox.base import Doorway, Sandbox, SandboxError, SandboxOptions, SandboxSession
from pytest_agentcap.sandbox.images import (
    BASE,
    CONTAINERFILE,
    base_folder,
    content_hash,
    ensure_image,
    image_name,
    image_part,
    stands_on_base,
)
from pytest_agentcap.sandbox.podman import PodmanSandbox
from pytest_agentcap.sandbox.podman_session import WORKSPACE
from pytest_agentcap.sandbox.reaper import OwnerState
from pytest_agentcap.sandbox.service import connect, explained
from pytest_agentcap.shipped import packaged

LOGS = "/logs"
VERIFIER_LOGS = f"{LOGS}/verifier"
TESTS = "/tests"

_VERIFIER = "verifier"
_FROM = re.compile(r"^FROM\s+\S+(.*)$", re.MULTILINE)
# What the layer that agents share has, for an image of Debian's kind that somebody else made.
_SHARED_LAYER = """FROM {task}
# {digest}
USER root
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \\
    && apt-get install -y --no-install-recommends ca-certificates curl git procps python3 python3-venv ripgrep socat \\
    && rm -rf /var/lib/apt/lists/* \\
    && (id agent >/dev/null 2>&1 || useradd --create-home --non-unique --uid 1000 --shell /bin/bash agent)
COPY --from={base} /opt/node /opt/node
ENV PATH=/opt/agent/bin:/opt/node/bin:${{PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}}
"""
_TASK_LAYER = """
USER root
RUN mkdir -p {folders} {logs}/agent {logs}/artifacts && chown -R agent:agent {folders} {logs}
{given}WORKDIR {workdir}
USER agent
"""
_GIVEN = 'RUN for each in {paths}; do if [ -d "$each" ]; then chown -R agent:agent "$each"; fi; done\n'


class TaskSandbox:
    """Start an agent in a task's own image; its limits are the task's where that has some.

    `verifier` is where the task is verified: prepared with it, so that no model is called when it cannot be.
    """

    def __init__(
        self,
        task: str,
        container: TaskContainer,
        agent: str,
        agent_folder: Path,
        uri: str,
        state: OwnerState,
        verifier: Sandbox | None = None,
    ) -> None:
        self.verifier: Sandbox = verifier or self
        self._task = task
        self._container = container
        self._agent = agent
        self._agent_folder = agent_folder
        self._uri = uri
        self._state = state
        self._ready: PodmanSandbox | None = None

    def prepare(self, progress: Callable[[str], None]) -> None:
        self._prepared(progress)
        if self.verifier is not self:
            self.verifier.prepare(progress)

    def start(self, name: str, doorway: Doorway, options: SandboxOptions) -> SandboxSession:
        return self._prepared(lambda _line: None).start(name, doorway, self.limited(options))

    def limited(self, options: SandboxOptions) -> SandboxOptions:
        """Return options with the task's limits."""
        told = self._container
        return replace(
            options,
            cpus=told.cpus or options.cpus,
            memory=_size(told.memory) or options.memory,
            disk=_size(told.storage) or options.disk,
        )

    def _prepared(self, progress: Callable[[str], None]) -> PodmanSandbox:
        if self._ready is None:
            self._ready = self._build(progress)
        return self._ready

    def _build(self, progress: Callable[[str], None]) -> PodmanSandbox:
        with tempfile.TemporaryDirectory(prefix="task-", dir=self._state.folder) as scratch:
            folder = _task_context(self._container, Path(scratch, "task"))
            # Tasks of the same name in other places must not take each other's images.
            name = f"task-{safe_name(self._task).lower()[:40]}-{content_hash(folder, {})[:8]}"
            ensure_image(name, folder, {}, self._uri, self._state, progress, self._container.build_timeout_s)
            below, digest = name, content_hash(folder, {})
            if not stands_on_base(folder):
                below, digest = f"{name}-base", self._shared_layer(name, digest, Path(scratch, "base"), progress)
        workdir = self._container.workdir or self._workdir(image_name(name))
        layer = self._state.folder / f"w{os.getpid()}-{name}-{self._agent}"
        _agent_context(self._agent_folder, layer, below, digest, workdir, self._container)
        sandbox = PodmanSandbox(f"{name}-{self._agent}", layer, self._uri, self._state, workspace=workdir)
        sandbox.prepare(progress)
        return sandbox

    def _shared_layer(self, name: str, digest: str, folder: Path, progress: Callable[[str], None]) -> str:
        ensure_image(BASE, base_folder(), {}, self._uri, self._state, progress)
        folder.mkdir()
        text = _SHARED_LAYER.format(task=image_name(name), digest=digest, base=image_name(BASE))
        (folder / CONTAINERFILE).write_text(text, encoding="utf-8")
        ensure_image(f"{name}-base", folder, {}, self._uri, self._state, progress)
        return content_hash(folder, {})

    def _workdir(self, image: str) -> str:
        with explained(f"podman cannot look for {image}"), connect(self._uri) as client:
            told = client.images.get(image).attrs.get("Config", {}).get("WorkingDir") or ""
        return WORKSPACE if told in ("", "/") else str(told)


def task_sandbox(
    task: HarborTask, kind: str, agent: str, agent_folder: Path, uri: str | None, state: OwnerState
) -> Sandbox:
    """Return the sandbox of a task that brings its own image. Raises SandboxError where there are no containers."""
    if kind != "podman":
        raise SandboxError(f"{task.folder.name} brings its own image: use --sandbox podman")
    if task.hindrance:
        raise SandboxError(f"{task.folder.name} cannot be run here: {task.hindrance}")
    assert uri is not None, "the controller starts podman's service before any session"
    name = task.folder.name
    # Nothing of the agent's is in a verifier's own image: its layer is that of the agent that needs no program.
    own = task.separate.container if task.separate else None
    verifier = TaskSandbox(name, own, _VERIFIER, packaged("agents") / "loop", uri, state) if own else None
    return TaskSandbox(name, task.container, image_part(agent), agent_folder, uri, state, verifier)


def _task_context(told: TaskContainer, folder: Path) -> Path:
    """Write what a task's image is built from: its Dockerfile and what lies beside it, else the image that it names."""
    if told.image is None:
        shutil.copytree(told.folder, folder)
        (folder / DOCKERFILE).rename(folder / CONTAINERFILE)
        return folder
    folder.mkdir()
    (folder / CONTAINERFILE).write_text(f"FROM {whole_name(told.image)}\n", encoding="utf-8")
    return folder


def whole_name(image: str) -> str:
    """Return an image's name with its registry, which is Docker's where none is named: podman would ask for it."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _agent_context(source: Path, folder: Path, below: str, digest: str, workdir: str, told: TaskContainer) -> None:
    """Write what the agent's layer is built from: its own Containerfile, on the task's image instead of the base."""
    text = (source / CONTAINERFILE).read_text("utf-8")
    *_, last = _FROM.finditer(text)
    text = f"{text[: last.start()]}FROM {image_name(below)}{last[1]}\n# {digest}\nUSER root{text[last.end() :]}"
    text += "".join(f"\nENV {name}={_quoted(value)}" for name, value in told.env.items())
    folders = " ".join((workdir, VERIFIER_LOGS, TESTS, SOLUTION))
    given = _GIVEN.format(paths=shlex.join(told.given)) if told.given else ""
    text += _TASK_LAYER.format(workdir=workdir, folders=folders, logs=LOGS, given=given)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch, "layer")
        shutil.copytree(source, made)
        (made / CONTAINERFILE).write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def _quoted(value: str) -> str:
    """Return a value as a Containerfile takes it."""
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def _size(text: str | None) -> str | None:
    """Return a size as podman's options spell it: Harbor writes `4G`, Kubernetes' `Gi` is the same here."""
    return text.lower().removesuffix("i") if text else None
