"""What a captures file says of itself in its footer: enough for a dataset card, without a look at its rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from pytest_agentcap import __version__
from pytest_agentcap.publish.rows import RunFacts, strip_revision
from pytest_agentcap.runs.circumstances import corpus_digests
from pytest_agentcap.runs.order import last_attempts

SUMMARY_KEY = "agentcap_summary"
# What rows alone tell.
COUNTED = (
    *("calls", "broken_calls", "apis", "models", "prompt_tokens", "completion_tokens", "captured", "sampling"),
    *("redacted", "scan"),
)
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
)


@dataclass(slots=True)
class Summary:
    """Count a run's calls as their rows pass."""

    run: RunFacts
    scan: Mapping[str, Any] | None = None
    _calls: int = 0
    _errors: int = 0
    _redacted: int = 0
    _apis: set[str] = field(default_factory=set)
    _models: Counter[str] = field(default_factory=Counter)
    _tokens: dict[str, int | None] = field(default_factory=lambda: {"prompt": None, "completion": None})
    _times: list[int] = field(default_factory=list)
    _sampling: dict[str, set[str]] = field(default_factory=dict)
    _seen: set[Any] = field(default_factory=set)

    def add(self, row: Mapping[str, Any]) -> None:
        self._calls += 1
        self._errors += row["complete"] is False
        self._redacted += row["redacted"] or 0
        self._apis |= {row["api"]} - {None}
        self._models[row["model"]] += 1
        for name in self._tokens:
            if (told := row[f"{name}_tokens"]) is not None:
                self._tokens[name] = (self._tokens[name] or 0) + told
        if row["captured_at"] is not None:
            self._times = [min([*self._times, row["captured_at"]]), max([*self._times, row["captured_at"]])]
        session = (row["session"], row["model"])
        if session not in self._seen:
            # One body of a session is enough: agents do not change these from call to call.
            self._seen.add(session)
            self._note_sampling(row["request"])

    def facts(self) -> dict[str, Any]:
        """Return what the footer keeps, as plain data."""
        manifest, results = self.run.manifest, last_attempts(self.run.results.values())
        return {
            **{key: manifest.get(key) for key in ("agent", "agent_version", "provider", "sandbox", "network", "label")},
            "model": strip_revision(str(manifest.get("model") or "")),
            "agentcap_version": __version__,
            "corpora": corpus_digests(results),
            "sessions": len(results),
            "tasks": len({(r.get("corpus"), r.get("task_id")) for r in results}),
            "verdicts": dict(Counter(str(r.get("verdict")) for r in results)),
            "calls": self._calls,
            "broken_calls": self._errors,
            "apis": sorted(self._apis),
            "models": dict(self._models.most_common()),
            "prompt_tokens": self._tokens["prompt"],
            "completion_tokens": self._tokens["completion"],
            "captured": self._times,
            "sampling": {name: sorted(values) for name, values in sorted(self._sampling.items())},
            "redacted": self._redacted,
            "scan": None if self.scan is None else dict(self.scan),
        }

    def _note_sampling(self, request: bytes) -> None:
        try:
            body = json.loads(request)
        except (ValueError, RecursionError):
            return
        if isinstance(body, dict):
            for name in _SAMPLING:
                if isinstance(value := body.get(name), int | float | str):
                    self._sampling.setdefault(name, set()).add(str(value))


def read_summary(text: bytes) -> dict[str, Any]:
    """Read what a file's footer says of it; nothing when that is no JSON object."""
    try:
        summary = json.loads(text)
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}


def summary_of(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Return what a captures file says of itself; agentcap's own files tell agent, model and number of rows."""
    footer = metadata.metadata or {}
    told = {
        name: footer[name.encode()].decode("utf-8", "replace") for name in ("agent", "model") if name.encode() in footer
    }
    return {**told, "calls": metadata.num_rows, **read_summary(footer.get(SUMMARY_KEY.encode(), b""))}
