"""Which key belongs to the upstream, and which values must never be stored."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pytest_agentcap.options import ROUTER, SCRIPTED, Settings
from pytest_agentcap.runs.masking import environment_secrets


@dataclass(frozen=True, slots=True)
class Key:
    """Hold the upstream's key and where it came from."""

    value: str = field(repr=False)
    source: str


def find_key(upstream: str | None, given: str | None) -> Key | None:
    """Return the key that the proxy adds: the given one, AGENTCAP_API_KEY, then what belongs to the upstream's host."""
    if given:
        return Key(given, "--api-key")
    if upstream in (None, SCRIPTED):
        return None
    if value := os.environ.get("AGENTCAP_API_KEY"):
        return Key(value, "AGENTCAP_API_KEY")
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


def secret_values(settings: Settings, key: Key | None) -> tuple[str, ...]:
    """Return the values that are masked in what is stored; none with --no-mask."""
    return known_secrets(key) if settings.mask else ()


def known_secrets(key: Key | None) -> tuple[str, ...]:
    """Return the upstream's key and what the environment holds of keys and tokens, each once."""
    return tuple(dict.fromkeys([*([key.value] if key else []), *environment_secrets()]))
