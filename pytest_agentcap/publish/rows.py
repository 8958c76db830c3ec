"""One parquet row from one capture and what its run knows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.asked import asked_model
from pytest_agentcap.conversation.usage import usage_of
from pytest_agentcap.publish.redact import redact_text
from pytest_agentcap.publish.schema import BODIES, NAMES, fit
from pytest_agentcap.runs.captures import CaptureError, Half, read_half
from pytest_agentcap.runs.circumstances import circumstances_of
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.provider import provider_told
from pytest_agentcap.runs.telemetry import call_telemetry

_PROMPT_CHARS = 200


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one row by column, bodies as UTF-8 bytes; `error` tells why its response could not be read."""

    values: dict[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Hold what a run's rows share: its manifest, its results by session, and what no text may keep.

    `parts` are the runs whose rows these are, where they are of several.
    """

    run: RunDirectory
    manifest: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]
    redact: Mask = field(default_factory=Mask)
    parts: tuple[RunFacts, ...] = ()

    @property
    def circumstances(self) -> dict[str, Any]:
        """Return those of each run that the rows are of, by its id."""
        told = {e.run.id: circumstances_of(e.manifest, e.results.values()) for e in self.parts or (self,)}
        return {run: circumstances for run, circumstances in told.items() if circumstances}

    def read_row(self, rid: str) -> Row:
        """Make the row of one call; a response that cannot be read leaves `{}` and the error `unreadable_response`.

        Raises CaptureError or OSError when the request cannot be read.
        """
        request = _read_whole(self.run.captures / f"{rid}.request.json")
        path = self.run.captures / f"{rid}.response.json"
        try:
            response, error = _read_whole(path) if path.exists() else None, None
        except (CaptureError, OSError) as unreadable:
            response, error = None, str(unreadable)
        found = self._call(rid, request) | _outcome(request.head, response)
        if error:
            found["error"] = "unreadable_response"
        values = {name: found[name] if name in BODIES else fit(name, found.get(name)) for name in NAMES}
        if self.redact.replacements:
            self._redact(values)
        return Row(values, error)

    def redacted(self, text: str) -> str:
        return self.redact.apply(text.encode("utf-8", "surrogatepass"))[0].decode("utf-8", "surrogatepass")

    def _redact(self, values: dict[str, Any]) -> None:
        found = 0
        for name, value in values.items():
            if isinstance(value, bytes):
                values[name], hits = redact_text(self.redact, value)
                found += hits
            elif isinstance(value, str) and name != "request_id":
                values[name] = self.redacted(value)
        values["redacted"] = (values["redacted"] or 0) + found

    def _call(self, rid: str, request: Half) -> dict[str, Any]:
        head, manifest = request.head, self.manifest
        result = self.results.get(str(head.get("session")), {})
        return {
            # agentcap recorded no other API and did not say so.
            "api": "chat",
            **{name: result.get(name) for name in ("agent_version", "corpus", "verdict")},
            **head,
            "request_id": rid,
            "model": strip_revision(self._model(request)),
            "request": request.text,
            "provider": provider_told(manifest, head.get("upstream_url"), partial(self._model, request)),
            "label": head.get("label") or manifest.get("label"),
            "run_id": self.run.id,
            "agent": head.get("agent") or result.get("agent") or manifest.get("agent"),
            "request_headers": _json_or_none(head.get("request_headers")),
            "telemetry": call_telemetry(result, rid, head.get("turn")),
        }

    def _model(self, request: Half) -> str:
        """Name the model that was asked for: in the body, in the path (Gemini), by the run; empty when nobody knows.

        agentcap's column is never null, so this one is not either.
        """
        found = asked_model(request) or self.manifest.get("model")
        return found if isinstance(found, str) else ""


def _outcome(request_head: Mapping[str, Any], response: Half | None) -> dict[str, Any]:
    redacted = request_head.get("redacted")
    if response is None:
        return {"response": b"{}", "redacted": redacted}
    head = response.head
    usage = usage_of(str(request_head.get("api", "chat")), response)
    streamed = response.key == "raw"
    fingerprint = head.get("upstream_fingerprint")
    served = fingerprint if isinstance(fingerprint, dict) else {}
    names = ("stream", "status_code", "complete", "error", "first_byte_ms", "duration_ms", "response_bytes")
    pieces = ("chunk_ms", "chunk_bytes", "replayed_from")
    return {
        **{name: head.get(name) for name in (*names, *pieces)},
        "response": b'{"stream":true,"raw":%b}' % response.text if streamed else response.text,
        "served_by": served.get("x_served_by"),
        "served_build_info": served.get("build_info"),
        "served_model": served.get("served_model"),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "response_headers": _json_or_none(head.get("response_headers")),
        "redacted": redacted + head["redacted"] if _both_int(redacted, head.get("redacted")) else redacted,
    }


def first_prompt(body: bytes) -> str | None:
    """Read the first user message of a chat request as one line of at most 200 characters."""
    document = _parse(body)
    messages = document.get("messages") if isinstance(document, dict) else None
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            return one_line(" ".join(text for text in texts if isinstance(text, str)))
    return None


def one_line(prompt: str) -> str:
    """Shorten a prompt to what the footer keeps of it."""
    return " ".join(prompt.split())[:_PROMPT_CHARS]


def _read_whole(path: Path) -> Half:
    half = read_half(path)
    try:
        if not half.text.isascii():
            half.text.decode()
    except UnicodeDecodeError as error:
        raise CaptureError(f"{path}: not a capture file: {error}") from error
    return half


def strip_revision(model: str) -> str:
    """Drop `@revision`; a leading `@` is part of the name (`@cf/meta/llama`)."""
    return model[:1] + model[1:].partition("@")[0]


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json_or_none(value: Any) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"))


def _both_int(first: Any, second: Any) -> bool:
    return isinstance(first, int) and isinstance(second, int)
