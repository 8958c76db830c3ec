"""A file of models: each with the server that has it, its key and its label."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from pytest_agentcap.option_values import model_id, upstream_url
from pytest_agentcap.targets import SERVER_VARIABLES, ModelTarget

# What stands for a key in a list of models: the name of a variable, or the key itself.
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


class ModelsError(ValueError):
    """Say which file and key of a list of models is wrong."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    upstream: str
    api_key_env: str | None = None
    label: str | None = None


class _Models(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[_Entry, ...]


class _GymEntry(msgspec.Struct, frozen=True):
    model_id: str
    base_url: str | None = None
    api_key: str | None = None


class _GymModels(msgspec.Struct, frozen=True):
    models: tuple[_GymEntry, ...]


def read_models(path: Path) -> tuple[ModelTarget, ...]:
    """Read a TOML file of models, or AgentGym's JSON: an object with `models`, or the list alone.

    Raises ModelsError naming the file and the key.
    """
    try:
        data = path.read_bytes()
        targets = _of_gym(data) if path.suffix == ".json" else _of_toml(data)
    except OSError as error:
        raise ModelsError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise ModelsError(f"{path}: {error}") from error
    if not targets:
        raise ModelsError(f"{path}: models: empty")
    checked: list[ModelTarget] = []
    for number, target in enumerate(targets):
        try:
            model_id(target.id)
            upstream_url(target.upstream)
        except argparse.ArgumentTypeError as error:
            raise ModelsError(f"{path}: models[{number}]: {error}") from error
        if any(other.key == target.key for other in checked):
            raise ModelsError(f"{path}: models[{number}]: {target.id} at {target.upstream} is there twice: add a label")
        checked.append(target)
    return tuple(checked)


def _of_toml(data: bytes) -> list[ModelTarget]:
    entries = msgspec.toml.decode(data, type=_Models, strict=True).models
    return [
        ModelTarget(each.id, each.upstream.rstrip("/"), api_key_env=each.api_key_env, label=each.label)
        for each in entries
    ]


def _of_gym(data: bytes) -> list[ModelTarget]:
    document: Any = msgspec.json.decode(data)
    entries = msgspec.convert({"models": document} if isinstance(document, list) else document, _GymModels).models
    return [ModelTarget(each.model_id, _gym_server(each), **_gym_key(each.api_key)) for each in entries]


def _gym_server(entry: _GymEntry) -> str:
    """Return the server of an entry, which is the environment's when the entry names none."""
    found = entry.base_url or next((given for name in SERVER_VARIABLES if (given := os.environ.get(name))), None)
    if found is None:
        variables = " or ".join(SERVER_VARIABLES)
        raise msgspec.ValidationError(f"{entry.model_id} has no `base_url`: give it one, or set {variables}")
    return found.strip().rstrip("/")


def _gym_key(text: str | None) -> dict[str, str]:
    if not text:
        return {}
    return {"api_key_env": text} if _VARIABLE.fullmatch(text) else {"api_key": text}
