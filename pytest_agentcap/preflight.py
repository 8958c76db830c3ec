"""What is checked once, on the controller, before anything is run: each failure is one line and exit status 4."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.credentials import Key
from pytest_agentcap.option_values import SCRIPTED
from pytest_agentcap.plan import sandbox_options_of
from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.sandbox.choose import make_sandbox
from pytest_agentcap.sandbox.egress import ClosedDoor
from pytest_agentcap.sandbox.workspace import prepare_workspace
from pytest_agentcap.settings import Settings

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec
    from pytest_agentcap.sandbox.reaper import OwnerState

_TIMEOUT_S = 30.0


class PreflightError(Exception):
    """Say in one line what is missing and what to do about it."""


def check_upstream(upstream: str, key: Key | None, option: str = "--upstream") -> None:
    """Ask the upstream for its models; any answer but a refused key is good enough, 404 included.

    Raises PreflightError naming the option that the upstream comes from.
    """
    if upstream == SCRIPTED:
        return
    if (source := replayed_source(upstream)) is not None:
        _check_recording(source)
        return
    import httpx

    from pytest_agentcap.proxy.apis import Upstream

    base = Upstream(upstream, key.value if key else None)
    header = base.key_header(None)
    try:
        answer = httpx.get(
            base.origin + base.target("/v1/models", ""),
            headers=[header] if header else [],
            timeout=_TIMEOUT_S,
            verify=httpx.create_ssl_context(),
            trust_env=False,
            follow_redirects=False,
        )
    except httpx.HTTPError as error:
        raise PreflightError(f"{option} {upstream}: no answer ({_one_line(error)}): is the model server up?") from error
    if answer.status_code in (401, 403):
        used = f"the key from {key.source}" if key else "no key: pass --api-key or set AGENTCAP_API_KEY"
        raise PreflightError(f"{option} {upstream}: answered {answer.status_code} to {used}")


def _check_recording(source: str) -> None:
    from pytest_agentcap.replay.recording import RecordingError, open_recording
    from pytest_agentcap.runs.layout import workspace_folder

    try:
        open_recording(source, workspace_folder())
    except RecordingError as error:
        raise PreflightError(f"--upstream {error}") from error


def check_push(settings: Settings, upstream: str) -> None:
    """Find out whether what is captured may be published, can be scanned, and the Hub's token may write there.

    Raises PreflightError.
    """
    if settings.push is None:
        return
    if upstream == SCRIPTED:
        raise PreflightError("--push: what the scripted model says is not published; pass --model and --upstream")
    if replayed_source(upstream):
        raise PreflightError("--push: what is replayed is no new data; publish the recording itself")
    from huggingface_hub import HfApi

    from pytest_agentcap.publish.destination import Destination
    from pytest_agentcap.publish.publisher import check_destination
    from pytest_agentcap.publish.remote import Hub, PushError
    from pytest_agentcap.publish.scanners import ScanError, find_scanner

    try:
        check_destination(Destination.parse(settings.push), Hub(HfApi()))
        if settings.scan:
            find_scanner()
    except (PushError, ScanError) as error:
        raise PreflightError(str(error)) from error


def check_folders(settings: Settings, agents: Sequence[AgentSpec], state: OwnerState) -> None:
    """See that what agents are to find in their sandboxes can be there; a repository is fetched now.

    Raises PreflightError or SandboxError.
    """
    if settings.skills:
        for agent in agents:
            if agent.skills is None:
                raise PreflightError(f"--skills {settings.skills}: the agent {agent.name} does not look for skills")
    if settings.sandbox == "podman":
        for option, folder in (("skills", settings.skills), ("tool-dir", settings.tool_dir)):
            if folder and not folder.stat().st_mode & stat.S_IXOTH:
                raise PreflightError(
                    f"--{option} {folder}: agents in containers cannot read it: chmod -R o+rX {folder}"
                )
    if settings.workspace:
        prepare_workspace(settings.workspace, state, Path.cwd())


def check_graders(settings: Settings) -> None:
    """See that the graders of the options can be used. Raises PreflightError."""
    from pytest_agentcap.grading.base import GraderError
    from pytest_agentcap.grading.find import load_graders
    from pytest_agentcap.judging import toolbox_of

    try:
        load_graders(settings.graders, base=Path.cwd(), tools=toolbox_of(settings))
    except GraderError as error:
        raise PreflightError(f"--grader: {error}") from error


def check_sandboxes(
    settings: Settings,
    agents: Sequence[AgentSpec],
    podman_uri: str | None,
    state: OwnerState,
    progress: Callable[[str], None],
) -> None:
    """Make what every agent's sandbox starts from, and start one of each to see that it does.

    Raises SandboxError.
    """
    for agent in agents:
        sandbox = make_sandbox(
            settings.sandbox,
            agent=agent.name,
            executable=agent.executable,
            image_folder=agent.folder,
            podman_uri=podman_uri,
            state=state,
        )
        sandbox.prepare(progress)
        sandbox.start("preflight", ClosedDoor(), sandbox_options_of(settings)).close()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
