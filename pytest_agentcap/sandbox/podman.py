"""The sandbox that isolates: one container per session, with the proxy as its only way out."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from podman import PodmanClient
from podman.errors import NotFound

from pytest_agentcap.sandbox.base import Doorway, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.copyout import CopyLimits
from pytest_agentcap.sandbox.egress import RELAY_USER, SOCKET_FOLDER, bind_socket, relay_command
from pytest_agentcap.sandbox.files import remove_tree
from pytest_agentcap.sandbox.images import ensure_image
from pytest_agentcap.sandbox.limits import container_limits, enforced_controllers
from pytest_agentcap.sandbox.podman_session import HOME, SKILLS, WORKSPACE, PodmanSession
from pytest_agentcap.sandbox.reaper import AGENT_LABEL, OWNER_LABEL, SESSION_LABEL, OwnerState, end_monitors
from pytest_agentcap.sandbox.service import connect, explained, podman_info
from pytest_agentcap.sandbox.tools import place_of_its_own, tool_environment

_NETWORKS = {"model": "none", "open": "bridge"}
_TOOLS = "/opt/agentcap/tools"
_TAKEN = ("/opt/agent", "/opt/agentcap", "/opt/node")


class PodmanSandbox:
    """Start containers from one agent's image; `uri` is the podman service's, `extra_files` join the build context."""

    def __init__(
        self,
        agent: str,
        image_folder: Path,
        uri: str,
        state: OwnerState,
        extra_files: Mapping[str, Path] | None = None,
        limits: CopyLimits | None = None,
        workspace: str = WORKSPACE,
    ) -> None:
        self._workspace = workspace
        self._agent = agent
        self._image_folder = image_folder
        self._extra_files = extra_files or {}
        self._uri = uri
        self._state = state
        self._limits = limits or CopyLimits()
        self._image: str | None = None
        self._info: dict[str, Any] | None = None

    def prepare(self, progress: Callable[[str], None]) -> None:
        self._prepared(progress)

    def start(self, name: str, doorway: Doorway, options: SandboxOptions) -> PodmanSession:
        if options.network not in _NETWORKS:
            raise SandboxError(f"network {options.network!r} is not known: use {' or '.join(_NETWORKS)}")
        image = self._prepared(lambda _line: None)
        with ExitStack() as stack:
            folder = self._socket_folder()
            stack.callback(remove_tree, folder)
            listener = stack.enter_context(bind_socket(folder))
            stack.callback(doorway.listen(listener).close)
            client = stack.enter_context(connect(self._uri))
            container = self._create(client, image, name, folder, options)
            stack.callback(_remove, client, container)
            session = PodmanSession(client, container, options, self._limits, stack.pop_all(), self._workspace)
        try:
            session.open()
        except BaseException as error:
            try:
                session.close()
            except (SandboxError, OSError) as trouble:
                error.add_note(f"cleaning up after it failed as well: {trouble}")
            raise
        return session

    def _prepared(self, progress: Callable[[str], None]) -> str:
        if self._image is None:
            self._image = ensure_image(
                self._agent, self._image_folder, self._extra_files, self._uri, self._state, progress
            )
        return self._image

    def _socket_folder(self) -> Path:
        worker = self._state.folder / f"w{os.getpid()}"
        worker.mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=worker))
        folder.chmod(0o755)
        return folder

    def _create(self, client: PodmanClient, image: str, name: str, socket_folder: Path, options: SandboxOptions) -> str:
        folders = {**options.data, SOCKET_FOLDER: socket_folder, SKILLS: options.skills, _TOOLS: options.tools}
        if options.tools and (own := place_of_its_own(options.tools, (*_TAKEN, HOME, self._workspace))):
            folders[own] = options.tools
        with explained("podman cannot make a container"):
            environment = {"HOME": HOME, **_readable(options, client, image)}
            limits = container_limits(options, self._controllers_of(client))
            container = client.containers.create(
                image,
                relay_command(),
                name=f"agentcap-{name}-{secrets.token_hex(4)}",
                user=RELAY_USER,
                environment=environment,
                cap_drop=["all"],
                # podman-py 5.8 hands `security_opt` on as SELinux options, where "no-new-privileges" does nothing.
                no_new_privileges=True,
                network_mode=_NETWORKS[options.network],
                # The host's proxy variables may hold a password, and mean nothing in here.
                use_config_proxy=False,
                labels={OWNER_LABEL: self._state.id, SESSION_LABEL: name, AGENT_LABEL: self._agent},
                mounts=[_mount(source, target) for target, source in folders.items() if source],
                **limits,
            )
        return str(container.id)

    def _controllers_of(self, client: PodmanClient) -> Collection[str] | None:
        if self._info is None:
            self._info = podman_info(client)
        return enforced_controllers(self._info)


def _mount(source: Path, target: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"type": "bind", "source": str(source), "target": target, "read_only": True}
    if _selinux_enforces():
        # The socket's folder is one container's own; the user's folders may be mounted into others as well.
        mount["relabel"] = "Z" if target == SOCKET_FOLDER else "z"
    return mount


def _readable(options: SandboxOptions, client: PodmanClient, image: str) -> dict[str, str]:
    """Return the variables that lead to skills and tools."""
    found = {"AGENTCAP_SKILLS_DIR": SKILLS} if options.skills else {}
    if options.tools:
        pairs = (each.partition("=") for each in client.images.get(image).attrs["Config"]["Env"])
        path = next((value for name, _, value in pairs if name == "PATH"), "/usr/local/bin:/usr/bin:/bin")
        found |= tool_environment(options.tools, _TOOLS, path)
    return found


def _remove(client: PodmanClient, container: str) -> None:
    with explained("podman cannot remove a container"), suppress(NotFound):
        params = {"force": True, "v": True, "timeout": 0}
        client.api.delete(f"/containers/{container}", params=params).raise_for_status()
    end_monitors([container])


def _selinux_enforces() -> bool:
    switch = Path("/sys/fs/selinux/enforce")
    return switch.exists() and switch.read_text().strip() == "1"
