"""Known secret values replaced in what is stored; what travels is never touched."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SHORTEST_SECRET = 8
PLACEHOLDER = "agentcap-redacted-"
_VARIABLES = (
    "AGENTCAP_API_KEY",
    "AGENTCAP_JUDGE_API_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
)


def placeholder_of(secret: str) -> str:
    """Return what stands in a secret's place: the same for the same value, in every file."""
    return PLACEHOLDER + hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def environment_secrets() -> tuple[str, ...]:
    """Return the keys and tokens that this process's environment holds."""
    return tuple(os.environ[name] for name in _VARIABLES if os.environ.get(name))


@dataclass(frozen=True, slots=True)
class Mask:
    """Replace byte strings in whole bodies; placeholders are plain ASCII, so JSON stays JSON."""

    replacements: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, secrets: Iterable[str] = (), lease: str | None = None) -> Mask:
        """Mask secrets by a placeholder that is stable per value, and a session's lease by `<lease>`.

        Values shorter than 8 characters are left alone: they would hit ordinary text.
        """
        pairs: list[tuple[bytes, bytes]] = []
        for secret in sorted({s for s in secrets if len(s) >= SHORTEST_SECRET}, key=len, reverse=True):
            placeholder = placeholder_of(secret).encode()
            escaped = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
            spellings = {spelling.encode() for spelling in {secret} | escaped}
            pairs += [(spelling, placeholder) for spelling in sorted(spellings, key=len, reverse=True)]
        if lease:
            pairs.append((lease.encode(), b"<lease>"))
        return cls(tuple(pairs))

    def apply(self, data: bytes) -> tuple[bytes, int]:
        """Return the data without its secrets and how many were found."""
        found = 0
        for secret, placeholder in self.replacements:
            hits = data.count(secret)
            if hits:
                data, found = data.replace(secret, placeholder), found + hits
        return data, found

    def apply_to(self, head: dict[str, Any], keys: frozenset[str]) -> tuple[dict[str, Any], int]:
        """Do the same for some values of a head, texts and lists of texts; its keys and numbers are not text."""
        found = 0
        for key in head.keys() & keys:
            value, hits = self._apply_within(head[key])
            if hits:
                head, found = {**head, key: value}, found + hits
        return head, found

    def _apply_within(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, list):
            parts = [self._apply_within(part) for part in value]
            return [part for part, _ in parts], sum(hits for _, hits in parts)
        text, hits = self.apply(value.encode("utf-8", "surrogatepass"))
        return text.decode("utf-8", "surrogatepass"), hits
