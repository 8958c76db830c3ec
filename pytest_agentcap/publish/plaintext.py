"""What is published, as a reader of it sees it: escapes undone, JSON inside of JSON opened, streams put together."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from pytest_agentcap.publish.streams import StreamText

_BASE64 = "_base64"


def plain_pieces(data: bytes) -> Iterator[bytes]:
    """Yield a document's text in pieces that stand for themselves, so that what comes again can be left out.

    A pattern that looks for a key would miss it in `\\"`, inside of arguments that are JSON in a string, and in a
    stream that brings a few letters with each event. JSON and JSON lines become text in which every string stands as
    it is, with the names of its keys; anything else is yielded whole.
    """
    document = _parse(data.decode("utf-8", "replace"))
    if document is None:
        yield from _lines(data)
    else:
        yield from (text.encode("utf-8", "backslashreplace") for text in _split(document))


def _lines(data: bytes) -> Iterator[bytes]:
    text = data.decode("utf-8", "replace")
    documents = [(line, _parse(line)) for line in text.split("\n")] if text.lstrip()[:1] in ("{", "[") else []
    if not any(document is not None for _, document in documents):
        yield data
        return
    for line, document in documents:
        for piece in [line] if document is None else _split(document):
            yield piece.encode("utf-8", "backslashreplace")


def _split(document: Any) -> Iterator[str]:
    """Split where agents repeat themselves: each message of a request, each tool, is a piece."""
    if not isinstance(document, dict):
        yield _render(document)
        return
    rest = {}
    for key, value in document.items():
        if isinstance(value, dict) and key == "body":
            yield from _split(value)
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield from (f'"{key}": {_render(item)}' for item in value)
        elif isinstance(value, str) and key == "raw":
            stream = StreamText.of(value)
            yield value
            yield from (_render(text) for text in stream.texts())
        else:
            rest[key] = value
    if rest:
        yield _render(rest)


def _render(value: Any) -> str:
    if isinstance(value, str):
        inner = _parse(value) if value.lstrip()[:1] in ("{", "[") else None
        return f'"{value}"' if inner is None else _render(inner)
    if isinstance(value, dict):
        return "{" + ",\n".join(f'"{key}": {_render(_opened(key, item))}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n".join(map(_render, value)) + "]"
    return json.dumps(value)


def _opened(key: str, value: Any) -> Any:
    """Decode what was stored as base64 because it is no text."""
    if not (key.endswith(_BASE64) and isinstance(value, str)):
        return value
    try:
        return base64.b64decode(value, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return value


def _parse(text: str) -> Any:
    """Parse a JSON object or list with all that it holds; None for anything else."""
    try:
        document = json.loads(text, object_pairs_hook=_keep_all)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) else None


def _keep_all(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; a name that comes again must not hide what stood there before."""
    document = dict(pairs)
    if len(document) == len(pairs):
        return document
    return {f"{key}#{number}": value for number, (key, value) in enumerate(pairs)}
