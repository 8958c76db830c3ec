"""One recorded call as both run directories and parquet files tell it: facts by column name, and the two bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.runs.captures import Capture, CaptureError, Half

SessionKey = tuple[str, str, str, int, int, str]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Hold a call before anything of it is understood; `facts` has the parquet file's columns, as far as known.

    `response` is None when there is none; `faulty` tells why it cannot be read.
    """

    facts: Mapping[str, Any]
    request: bytes
    response: Half | None
    faulty: str | None = None

    @property
    def rid(self) -> str:
        return str(self.facts["request_id"])

    @property
    def api(self) -> str:
        # agentcap recorded no other API and did not say so.
        return self.text("api") or "chat"

    @property
    def started_at_ns(self) -> int | None:
        started, seconds = self.integer("started_at_ns"), self.integer("captured_at")
        found = started if started is not None or seconds is None else seconds * 1_000_000_000
        # What no clock can tell is unknown, as in the column.
        return found if found is None or -(2**63) <= found < 2**63 else None

    @property
    def session(self) -> SessionKey:
        """Name the session: run, corpus, task, trial, attempt, and its own name where one was recorded."""
        named = (self.text(name) or "" for name in ("run_id", "corpus", "task_id"))
        run_id, corpus, task = named
        return (
            run_id,
            corpus,
            task,
            self.integer("trial") or 1,
            self.integer("attempt") or 1,
            self.text("session") or "",
        )

    @property
    def order(self) -> tuple[float, float, int]:
        """Return what puts the calls of one session into the order in which they were made."""
        unknown = float("inf")
        index, started = self.integer("call_index"), self.started_at_ns
        # agentcap knows whole seconds only; within one, a conversation grows.
        return unknown if index is None else index, unknown if started is None else started, len(self.request)

    def text(self, name: str) -> str | None:
        value = self.facts.get(name)
        return value if isinstance(value, str) and value else None

    def integer(self, name: str) -> int | None:
        value = self.facts.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def number(self, name: str) -> float | None:
        value = self.facts.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def numbers(self, name: str) -> tuple[float, ...]:
        value = self.facts.get(name)
        return tuple(value) if isinstance(value, list) else ()


def record_of_capture(capture: Capture, facts: Mapping[str, Any]) -> CallRecord:
    """Read a pair from a run directory; `facts` are what its run knows beside it and its files do not say.

    Raises CaptureError or OSError when the request cannot be read; a response that cannot is told in `faulty`.
    """
    request = capture.request
    try:
        response, faulty = capture.response, None
    except (CaptureError, OSError) as error:
        response, faulty = None, str(error)
    told = dict(response.head) if response else {}
    served = told.get("upstream_fingerprint")
    model = served.get("served_model") if isinstance(served, dict) else None
    # What the run knows stands where a file leaves a field open.
    known = dict(facts) | {k: v for k, v in (*told.items(), *request.head.items()) if v is not None}
    return CallRecord({**known, "request_id": capture.rid, "served_model": model}, request.text, response, faulty)


def record_of_row(row: Mapping[str, Any]) -> CallRecord:
    """Take a row of a captures parquet, agentcap's own included.

    Raises ValueError when the row has no request id or no request.
    """
    rid, request, response = (row.get(name) for name in ("request_id", "request", "response"))
    if not isinstance(rid, str) or not isinstance(request, str):
        raise ValueError("a row without request_id or request: not a captures parquet")
    faulty = "unreadable_response" if row.get("error") == "unreadable_response" else None
    facts = {name: value for name, value in row.items() if name not in ("request", "response")}
    half = _half(response) if isinstance(response, str) else None
    return CallRecord(facts, request.encode("utf-8", "surrogatepass"), half, faulty)


def _half(text: str) -> Half | None:
    """Undo the column's wrapper around streams; `{}` stands for no response."""
    if text in ("", "{}"):
        return None
    if text.startswith('{"stream":true,"raw":') and text.endswith("}"):
        return Half({}, "raw", text[len('{"stream":true,"raw":') : -1].encode())
    if text.startswith('{"stream"') or text.startswith('{"raw"'):
        wrapped = json.loads(text)
        if isinstance(wrapped.get("raw"), str):
            return Half({}, "raw", json.dumps(wrapped["raw"]).encode())
    return Half({}, "body", text.encode("utf-8", "surrogatepass"))
