"""JSON of strangers, read without trust: what has another type than expected is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_agentcap.conversation.model import CallError, Image, Opaque, Text

Document = dict[str, Any]


def parse(text: str | bytes) -> Any:
    """Return the JSON value, None when the text is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def encode(value: Any) -> str:
    """Write a value as compact JSON, keys in their order, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_object(value: Any) -> Document:
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def as_number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, or the one text."""
    values = value if isinstance(value, list) else [value]
    return tuple(item for item in values if isinstance(item, str))


def argument_text(value: Any) -> str:
    """Return a tool call's arguments as text: models write text, some APIs pass an object on."""
    return value if isinstance(value, str) else encode({} if value is None else value)


def opaque(part: Mapping[str, Any]) -> Opaque:
    return Opaque(str(part.get("type", "unknown")), encode(dict(part)))


def image_of_url(url: str) -> Image:
    """Take apart a `data:` URL; any other one stays a URL."""
    if url.startswith("data:"):
        head, comma, data = url[len("data:") :].partition(",")
        if comma and head.endswith(";base64"):
            return Image(head.removesuffix(";base64").partition(";")[0] or None, data)
    return Image(url=url)


def plain_parts(content: Any) -> tuple[Text | Image | Opaque, ...]:
    """Read content that is one text, or a list of text and image parts of any of the APIs."""
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, list):
        return tuple(Text(part) if isinstance(part, str) else plain_part(as_object(part)) for part in content)
    return () if content is None else (Text(encode(content)),)


def plain_part(part: Document) -> Text | Image | Opaque:
    """Read one text or image part of chat completions, responses or messages."""
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
        return Text(part["text"])
    if kind in ("image_url", "input_image"):
        place = part.get("image_url")
        url = place.get("url") if isinstance(place, dict) else place
        if isinstance(url, str):
            return image_of_url(url)
    if kind == "image":
        source = as_object(part.get("source"))
        data, url = as_text(source.get("data")), as_text(source.get("url"))
        if data is not None or url is not None:
            return Image(as_text(source.get("media_type")), data, url)
    return opaque(part)


def read_error(document: Any, source: Any) -> CallError | None:
    """Find the error object of any of the APIs in a body or an event."""
    error = as_object(document).get("error")
    if isinstance(error, str):
        return CallError(source, error)
    if not isinstance(error, dict):
        return None
    kind = next((error[key] for key in ("type", "status", "code") if isinstance(error.get(key), str | int)), None)
    message = as_text(error.get("message")) or encode(error)
    return CallError(source, message, None if kind is None else str(kind))
