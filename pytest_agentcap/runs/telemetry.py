"""Which part of a session's telemetry belongs to one of its calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def call_telemetry(result: Mapping[str, Any], rid: str, turn: Any) -> str | None:
    """Return, as compact JSON, a call's step and tool spans, and what its turn and session used.

    `result` is the session's result as plain data; None when it has no telemetry, as those of sessions that were
    broken off.
    """
    told = result.get("telemetry")
    if not isinstance(told, Mapping):
        return None
    turns, session = told.get("turns") or (), told.get("session") or {}
    cell = {
        **told.get("calls", {}).get(rid, {}),
        "turn": next((each for each in turns if each.get("turn") == turn), None),
        "session": {**session, "coverage": told.get("coverage")},
    }
    return json.dumps(cell, separators=(",", ":"))
