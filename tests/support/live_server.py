"""The model server of the live tests: where it is, which model it has, which APIs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from pytest_agentcap.credentials import find_key
from pytest_agentcap.proxy.apis import Upstream

URL, MODEL = "AGENTCAP_TEST_LLM_URL", "AGENTCAP_TEST_MODEL"
# What the scripted model's list of models says of it.
_OURS = "pytest-agentcap"
_PROBE_S = 30


@dataclass(frozen=True)
class ModelServer:
    """Name a server that answers, and one of its models; `scripted` is the model that comes with this project."""

    url: str
    model: str
    scripted: bool

    def speaks(self, api: str) -> bool:
        """Tell whether the server has an API at all: an empty request is refused, but not as an unknown path."""
        path = {"chat": "chat/completions", "gemini": f"models/{self.model}:generateContent"}.get(api, api)
        prefix = "/v1beta" if api == "gemini" else "/v1"
        answer = _ask("POST", self.url, f"{prefix}/{path}", {"model": self.model})
        return answer.status_code not in (404, 405, 501)


def _ask(method: str, url: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    key = find_key(url, None)
    upstream = Upstream(url, key.value if key else None)
    header = upstream.key_header(None)
    target = upstream.origin + upstream.target(path, "")
    headers = [header] if header else []
    return httpx.request(method, target, json=body, headers=headers, timeout=_PROBE_S, trust_env=False)


def _listed(url: str) -> list[dict[str, Any]]:
    """Return the server's models, none where it keeps no list; who asks is skipped when there is no answer."""
    try:
        answer = _ask("GET", url, "/v1/models")
    except httpx.HTTPError as error:
        pytest.skip(f"{url}: no answer ({error})")
    return list(answer.json()["data"]) if answer.status_code == 200 else []


def server_at(url: str) -> ModelServer:
    """Find a server's model: the one that AGENTCAP_TEST_MODEL names, else the first of its list."""
    models = _listed(url)
    model = os.environ.get(MODEL) or next((str(each["id"]) for each in models), None)
    if model is None:
        pytest.skip(f"{url} lists no model: name one in {MODEL}")
    return ModelServer(url, model, any(each.get("owned_by") == _OURS for each in models))
