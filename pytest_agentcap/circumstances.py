"""What run.json says of a run from its start: what was asked for, and machine, image, model server and seed."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

from pytest_agentcap import __version__
from pytest_agentcap.credentials import Key
from pytest_agentcap.option_values import SCRIPTED
from pytest_agentcap.replay.settings import replay_facts, replayed_source
from pytest_agentcap.runs.provider import provider_of
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec


def run_facts(settings: Settings, agent: AgentSpec, target: ModelTarget) -> dict[str, Any]:
    """Return what was asked for: agent, model, turns, trials, sandbox; what does not apply has no key."""
    label = target.label or settings.label
    return {
        "agent": agent.name,
        "model": target.id,
        "provider": provider_of(target.upstream, target.id),
        "upstream": target.upstream,
        **replay_facts(settings.replay, target.upstream),
        "turns_per_task": settings.turns,
        "followup": settings.followup,
        **({"label": label} if label is not None else {}),
        **({"mcp": sorted(agent.servers)} if agent.servers else {}),
        "agent_version": agent.version,
        "agentcap_version": __version__,
        "trials": settings.trials,
        **({"shard": str(settings.shard)} if settings.shard else {}),
        "sandbox": settings.sandbox,
        "network": settings.network if settings.sandbox == "podman" else None,
        "created_at": int(time.time()),
        "python": platform.python_version(),
    }


def circumstances(
    settings: Settings, agent: AgentSpec, target: ModelTarget, key: Key | None, podman_uri: str | None
) -> dict[str, Any]:
    """Return what is needed to have a run again; `image` is None on the host, `serving` None for what is embedded."""
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
    from pytest_agentcap.sandbox.images import image_id, image_part

    return image_id(image_part(agent.name), podman_uri)


def _serving(target: ModelTarget, key: Key | None) -> dict[str, Any] | None:
    if target.upstream == SCRIPTED or replayed_source(target.upstream) is not None:
        return None
    from pytest_agentcap.proxy.apis import Upstream
    from pytest_agentcap.telemetry.serving import ask_upstream

    return ask_upstream(Upstream(target.upstream, key.value if key else None), target.id)
