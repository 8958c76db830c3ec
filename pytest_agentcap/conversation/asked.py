"""Which model a request asks for, without reading all of its body where that is not needed."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_agentcap.runs.captures import Half

_MODEL_KEY = b'"model"'
_FIRST_MODEL = re.compile(rb'\s*\{\s*("model")\s*:\s*("(?:[^"\\]|\\.)*")')
_MODEL_IN_PATH = re.compile(r"/models/([^/:]+):")


def asked_model(request: Half) -> str | None:
    """Name the model that a request asks for, in its body or in its path (Gemini); None when it names none."""
    in_path = _MODEL_IN_PATH.search(str(request.head.get("path")))
    return read_model(request.text) or (in_path[1] if in_path else None)


def read_model(body: bytes) -> str | None:
    """Read the model that a request body asks for, None when it names none or is no JSON object."""
    # From the end on: that is the faster way through a long body without another one.
    last = body.rfind(_MODEL_KEY)
    if last < 0:
        return None
    first = _FIRST_MODEL.match(body)
    # A whole parse costs more than all the rest of a row, and most clients write the model first.
    document = {"model": _parse(first[2])} if first and first.start(1) == last else _parse(body)
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) else None


def is_same_model(asked: str | None, model: str) -> bool:
    """Tell whether a request is for a run's model: it asks for that id, for the id without its owner, or for none."""
    return not asked or asked == model or asked.endswith(f"/{model}") or model.endswith(f"/{asked}")


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
