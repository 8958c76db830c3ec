"""Secrets that a scan found, replaced in what is published wherever and however they are spelled there."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pytest_agentcap.publish.streams import StreamText
from pytest_agentcap.runs.masking import SHORTEST_SECRET, Mask, placeholder_of

# A stream's text holds events in JSON, an event the arguments of a call in JSON, and those what the agent writes.
_DEEPEST = 4
_STREAM = b'{"stream":true,"raw":'


def replaceable(secret: str) -> bool:
    """Tell whether a value is long enough to be replaced wherever it stands: a short one would hit ordinary text."""
    return len(secret) >= SHORTEST_SECRET


def redaction(secrets: Iterable[str]) -> Mask:
    """Return what replaces secrets by placeholders, plain and escaped for JSON in JSON."""
    pairs: dict[bytes, bytes] = {}
    for secret in secrets:
        if replaceable(secret):
            for spelling in _spellings(secret):
                pairs[spelling.encode("utf-8", "surrogatepass")] = placeholder_of(secret).encode()
    # A secret may be part of another: the longer one is looked for first.
    return Mask(tuple(sorted(pairs.items(), key=lambda pair: (-len(pair[0]), pair[0]))))


def _spellings(secret: str) -> set[str]:
    found = {secret}
    for ascii_only in (True, False):
        spelled = secret
        for _ in range(_DEEPEST):
            spelled = json.dumps(spelled, ensure_ascii=ascii_only)[1:-1]
            found.add(spelled)
    return found


def redact_text(mask: Mask, data: bytes) -> tuple[bytes, int]:
    """Replace secrets in a published text and tell how many; in a stream, those that came in pieces too.

    A stream's text is the `response` column's `{"stream":true,"raw":"…"}`; events are changed only where a secret is.
    """
    data, found = mask.apply(data)
    if not (mask.replacements and data.startswith(_STREAM)):
        return data, found
    stream = StreamText.of(json.loads(data[len(_STREAM) : -1]))
    spread = stream.replace([(old.decode("utf-8", "surrogatepass"), new.decode()) for old, new in mask.replacements])
    return (b"%b%b}" % (_STREAM, json.dumps(str(stream)).encode()) if spread else data), found + spread
