"""Which key belongs to the upstream, and which values must never be stored."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pytest_agentcap.option_values import ROUTER, SCRIPTED
from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.runs.masking import environment_secrets
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget


@dataclass(frozen=True, slots=True)
class Key:
    """Hold the upstream's key and where it came from."""

    value: str = field(repr=False)
    source: str


class KeyMissing(ValueError):
    """Say which variable holds no key."""


def key_of(target: ModelTarget, settings: Settings) -> Key | None:
    """Return the key for a model's server.

    A list of models names each one's; AGENTCAP_API_KEY and --api-key would be for all of them, so they do not count
    there. Raises KeyMissing when the variable that the list names is empty.
    """
    if target.api_key_env is not None:
        value = os.environ.get(target.api_key_env)
        if not value:
            raise KeyMissing(f"--models: {target.id}: the variable {target.api_key_env} is not set")
        return Key(value, target.api_key_env)
    if target.api_key is not None:
        return Key(target.api_key, "--models")
    upstream = settings.replay.upstream if replayed_source(target.upstream) else target.upstream
    if upstream is None:
        return None
    return own_key(upstream) if settings.listed else find_key(upstream, settings.api_key)


def keys_of(settings: Settings) -> tuple[Key | None, ...]:
    """Return the keys of all targets, in their order. Raises KeyMissing."""
    return tuple(key_of(target, settings) for target in settings.targets)


def find_key(upstream: str | None, given: str | None) -> Key | None:
    """Return the key that the proxy adds: the given one, AGENTCAP_API_KEY, then what belongs to the upstream's host."""
    if given:
        return Key(given, "--api-key")
    if upstream not in (None, SCRIPTED) and (value := os.environ.get("AGENTCAP_API_KEY")):
        return Key(value, "AGENTCAP_API_KEY")
    return own_key(upstream)


def own_key(upstream: str | None) -> Key | None:
    """Return what the environment holds for an upstream's host."""
    if upstream in (None, SCRIPTED):
        return None
    host = urlsplit(upstream).netloc
    if host == urlsplit(ROUTER).netloc:
        if value := os.environ.get("HF_TOKEN"):
            return Key(value, "HF_TOKEN")
        from huggingface_hub import get_token

        stored = get_token()
        return Key(stored, "the stored Hugging Face token") if stored else None
    own = urlsplit(os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")).netloc
    if host == own and (value := os.environ.get("OPENAI_API_KEY")):
        return Key(value, "OPENAI_API_KEY")
    return None


def secret_values(settings: Settings, *keys: Key | None) -> tuple[str, ...]:
    """Return the values that are masked in what is stored; none with --no-mask."""
    return known_secrets(*keys) if settings.mask else ()


def known_secrets(*keys: Key | None) -> tuple[str, ...]:
    """Return the upstreams' keys and what the environment holds of keys and tokens, each once."""
    return tuple(dict.fromkeys([*(key.value for key in keys if key), *environment_secrets()]))
