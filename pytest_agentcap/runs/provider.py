"""The provider column: who serves the upstream, as agentcap names it."""

from __future__ import annotations

import ipaddress
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
