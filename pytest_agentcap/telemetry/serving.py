"""What a model server says of itself, asked once; servers that do not know a question are no worse for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_agentcap.conversation.values import as_integer, as_object, as_objects, as_text

if TYPE_CHECKING:
    from pytest_agentcap.proxy.apis import Upstream

_QUESTIONS = ("/props", "/v1/models", "/version", "/info")
_TIMEOUT_S = 3.0
_LARGEST_BYTES = 4 << 20
_OWNERS = {"llamacpp": "llama.cpp", "vllm": "vllm", "sglang": "sglang", "library": "ollama"}


def ask_upstream(upstream: Upstream, model: str) -> dict[str, Any]:
    """Return what an upstream tells of itself and of a model.

    That is `software`, `version`, `context_size` in tokens, `model_file`, `model_hash`, and `fingerprint`: the SHA-256
    of those. What it does not tell is None; failures are not told.
    """
    import httpx

    header = upstream.key_header(None)
    with httpx.Client(timeout=_TIMEOUT_S, headers=[header] if header else [], trust_env=False) as client:

        def ask(path: str) -> Any:
            # llama.cpp, vLLM and TGI answer all but the models beside `/v1`, not below it.
            below = upstream.target(path, "") if path == "/v1/models" else path
            try:
                answer = client.get(upstream.origin + below)
                small = len(answer.content) <= _LARGEST_BYTES
                return answer.json() if answer.is_success and small else None
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
                return None

        return read_answers({path: ask(path) for path in _QUESTIONS}, model)


def read_answers(answers: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Read the answers by path.

    Sources: llama.cpp's tools/server/README.md (`/props`, `meta` of `/v1/models`), vLLM's OpenAI-compatible server
    (`/version`, `max_model_len`), text-generation-inference's API (`/info`).
    """
    props, version, info = (as_object(answers.get(path)) for path in ("/props", "/version", "/info"))
    entry = _entry(as_object(answers.get("/v1/models")), model)
    defaults, meta = as_object(props.get("default_generation_settings")), as_object(entry.get("meta"))
    file = as_text(props.get("model_path"))
    told = {
        "software": _software(props, info, entry),
        "version": _first(as_text, props.get("build_info"), version.get("version"), info.get("version")),
        "context_size": _first(
            as_integer,
            defaults.get("n_ctx"),
            entry.get("max_model_len"),
            info.get("max_total_tokens"),
            entry.get("context_length"),
            meta.get("n_ctx_train"),
        ),
        "model_file": PurePosixPath(file).name if file else None,
        "model_hash": _first(as_text, info.get("model_sha")),
    }
    known = json.dumps(told, sort_keys=True).encode()
    return {**told, "fingerprint": hashlib.sha256(known).hexdigest() if any(told.values()) else None}


def _entry(models: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return what a list of models says of one, or of the only one that there is."""
    entries = as_objects(models.get("data"))
    named = [entry for entry in entries if entry.get("id") == model]
    return named[0] if named else entries[0] if len(entries) == 1 else {}


def _software(props: Mapping[str, Any], info: Mapping[str, Any], entry: Mapping[str, Any]) -> str | None:
    if "default_generation_settings" in props or "build_info" in props:
        return "llama.cpp"
    if "model_sha" in info or "max_total_tokens" in info:
        return "text-generation-inference"
    return _OWNERS.get(str(entry.get("owned_by")))


def _first(read: Callable[[Any], Any], *values: Any) -> Any:
    return next((found for value in values if (found := read(value)) is not None), None)
