"""What a run was made with, so that nothing else is added to it unawares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.replay.settings import replay_facts
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget

Pins = Mapping[str, Any]
# What makes a run another one, and not the same one with something changed.
IDENTITY = ("agent", "model", "upstream", "label")


def pins_of(settings: Settings, agent: AgentSpec, target: ModelTarget) -> Pins:
    """Return what sessions of an agent and a model depend on, as JSON keeps it.

    Raises SandboxError when the agent has no image to build.
    """
    return {
        "agent": agent.name,
        "agent_version": agent.version,
        "agent_definition": _definition_hash(agent),
        "image": _image_hash(settings, agent),
        "model": target.id,
        "upstream": target.upstream,
        **replay_facts(settings.replay, target.upstream),
        "label": target.label or settings.label,
        "turns": settings.turns,
        "followup": settings.followup,
        "turn_timeout": settings.turn_timeout_s,
        "sandbox": settings.sandbox,
        "network": settings.network,
        "memory": settings.memory,
        "pids": settings.pids,
        "cpus": settings.cpus,
        "disk": settings.disk,
        "workspace": settings.workspace,
        "skills": str(settings.skills) if settings.skills else None,
        "tool_dir": str(settings.tool_dir) if settings.tool_dir else None,
        "mcp": _hash(json.dumps(agent.servers, sort_keys=True).encode()) if agent.servers else None,
        "graders": grader_hashes(settings.graders, Path.cwd()),
        "judge": settings.judge_model,
        "shard": str(settings.shard) if settings.shard else None,
    }


def differences(there: Pins, here: Pins) -> list[str]:
    """Name what differs, one line each: `turns: 1 in the run, 2 now`."""
    return [
        f"{name}: {_shown(there.get(name))} in the run, {_shown(here.get(name))} now"
        for name in dict.fromkeys([*here, *there])
        if there.get(name) != here.get(name)
    ]


def file_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each of these files that there is, by its name."""
    return {file.name: _hash(file.read_bytes()) for file in files if file.is_file()}


def grader_hashes(values: Iterable[str | Path | Mapping[str, Any]], base: Path) -> dict[str, str]:
    """Return the SHA-256 of each grader: of its file, by the file's name, or of a built-in one's argument."""
    from pytest_agentcap.grading.builtin import is_builtin

    hashes: dict[str, str] = {}
    for value in values:
        if isinstance(value, Mapping):
            hashes |= {name: _hash(json.dumps(argument, sort_keys=True).encode()) for name, argument in value.items()}
        elif isinstance(value, str) and is_builtin(value):
            name, _, argument = value.partition(":")
            file = base / argument[1:] if argument.startswith("@") else None
            hashes[name] = _hash(file.read_bytes() if file and file.is_file() else argument.encode())
        else:
            hashes |= file_hashes([base / value])
    return hashes


def _definition_hash(agent: AgentSpec) -> str:
    """Hash what an agent is started with: its definition, wherever that lies, and its templates."""
    digest = hashlib.sha256(
        msgspec.json.encode(msgspec.structs.replace(agent, folder=Path(), servers={}), order="sorted", enc_hook=str)
    )
    for file in agent.every_file:
        if file.template:
            digest.update((agent.folder / file.template).read_bytes())
    return digest.hexdigest()


def _image_hash(settings: Settings, agent: AgentSpec) -> str | None:
    if settings.sandbox != "podman":
        return None
    from pytest_agentcap.sandbox.images import content_hash

    return content_hash(agent.folder, {})


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in sorted(value.items())) or "none"
    text = "none" if value is None else str(value)
    # A hash tells nothing beyond its beginning.
    return text[:12] if len(text) == 64 and text.isalnum() else text
