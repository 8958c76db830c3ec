"""The circumstances of a run, for those who want to have it again: machine, image, model server, seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_agentcap.credentials import Key
from pytest_agentcap.option_values import SCRIPTED
from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec


def circumstances(
    settings: Settings, agent: AgentSpec, target: ModelTarget, key: Key | None, podman_uri: str | None
) -> dict[str, Any]:
    """Return what run.json says of them; `image` is None on the host, `serving` None for what is embedded."""
    from pytest_agentcap.telemetry.machine import machine_facts

    return {
        "machine": machine_facts(),
        "image": _image(agent, podman_uri),
        "serving": _serving(target, key),
        "seed": settings.seed,
    }


def _image(agent: AgentSpec, podman_uri: str | None) -> str | None:
    if podman_uri is None:
        return None
    from pytest_agentcap.sandbox.images import image_id

    return image_id(agent.name, podman_uri)


def _serving(target: ModelTarget, key: Key | None) -> dict[str, Any] | None:
    if target.upstream == SCRIPTED or replayed_source(target.upstream) is not None:
        return None
    from pytest_agentcap.proxy.apis import Upstream
    from pytest_agentcap.telemetry.serving import ask_upstream

    return ask_upstream(Upstream(target.upstream, key.value if key else None), target.id)
