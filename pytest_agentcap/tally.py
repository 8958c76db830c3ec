"""What a session's calls used, those to the task's model apart from those to others that an agent has for titles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.conversation.asked import asked_model, is_same_model
from pytest_agentcap.conversation.usage import usage_of
from pytest_agentcap.runs.captures import Capture, CaptureError
from pytest_agentcap.runs.layout import RunDirectory

Tokens = Mapping[str, tuple[int | None, int | None]]


@dataclass(frozen=True, slots=True)
class Tally:
    """Hold prompt and completion tokens by rid, and the model by rid of the calls that are not the task's model's."""

    tokens: Tokens
    others: Mapping[str, str]
    note: str | None = None

    @classmethod
    def of(cls, run: RunDirectory, rids: Iterable[str], model: str) -> Tally:
        """Read it from the pair files; tokens are None where the upstream told nothing.

        When no call asks for the task's model, the agent calls it by another name, and a note says so.
        """
        tokens: dict[str, tuple[int | None, int | None]] = {}
        asked: dict[str, str | None] = {}
        for rid in rids:
            capture = Capture(rid, run.captures)
            try:
                asked[rid] = asked_model(capture.request)
                usage = usage_of(capture.request.head["api"], capture.response)
            except (CaptureError, FileNotFoundError):
                continue
            tokens[rid] = usage.prompt_tokens, usage.completion_tokens
        others = {rid: name for rid, name in asked.items() if name and not is_same_model(name, model)}
        if others and len(others) == len(asked):
            names = ", ".join(sorted(set(others.values())))
            return cls(tokens, {}, f"no call asked for {model}, all asked for {names}, and are counted as its")
        return cls(tokens, others)

    @property
    def own_tokens(self) -> Tokens:
        return {rid: pair for rid, pair in self.tokens.items() if rid not in self.others}

    def by_model(self, rids: Iterable[str], model: str) -> dict[str, dict[str, Any]]:
        """Return calls and tokens by model id, the task's model first."""
        found: dict[str, list[str]] = {model: []}
        for rid in rids:
            found.setdefault(self.others.get(rid, model), []).append(rid)
        return {name: self._figures(calls) for name, calls in found.items()}

    def _figures(self, rids: list[str]) -> dict[str, Any]:
        tokens = {rid: self.tokens[rid] for rid in rids if rid in self.tokens}
        return {
            "calls": len(rids),
            "prompt_tokens": total_tokens(tokens, 0),
            "completion_tokens": total_tokens(tokens, 1),
        }


UNCOUNTED = Tally({}, {})


def total_tokens(tokens: Tokens, side: int) -> int | None:
    """Add up one side of (prompt, completion) pairs; None when the upstream reported nothing."""
    told = [pair[side] for pair in tokens.values()]
    counted = [count for count in told if count is not None]
    return sum(counted) if counted else None
