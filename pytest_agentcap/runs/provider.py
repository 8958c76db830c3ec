"""The provider column: who serves the upstream, as agentcap names it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

_KNOWN = {
    "router.huggingface.co": "hf-router",
    "api.openai.com": "openai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
}


def provider_of(upstream: str, model: str) -> str:
    """Name the provider of an upstream; the HF router's own choice (`model:provider`) is part of it."""
    host = urlsplit(upstream).hostname
    if upstream.startswith("replay:"):
        return "replay"
    if host is None:
        return upstream or "unknown"
    if host == "router.huggingface.co":
        _, colon, chosen = model.rpartition(":")
        return f"hf-router/{chosen}" if colon and chosen else "hf-router"
    if host in _KNOWN:
        return _KNOWN[host]
    if host == "localhost" or host.endswith((".localhost", ".local")):
        return "local"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        return labels[-2] if len(labels) > 1 else "local"
    return "local" if address.is_private or address.is_loopback else "unknown"


def provider_told(manifest: Mapping[str, Any], upstream: object, asked: Callable[[], str | None]) -> str | None:
    """Return the provider that a run names, else that of the upstream which a call of it went to.

    `asked` returns the model that the call is for; finding it may take a while.
    """
    told = manifest.get("provider")
    if isinstance(told, str) and told:
        return told
    return provider_of(upstream, asked() or "") if isinstance(upstream, str) and upstream else None
