"""Bodies embedded in the pair files as the very text that was on the wire."""

from __future__ import annotations

import base64
import json
from typing import Any, NoReturn

import msgspec

# The json module reads no longer ones (sys.set_int_max_str_digits), msgspec does.
_LONGEST_NUMBER = 4300
_DIGITS = frozenset(b"0123456789")


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def is_embeddable(body: bytes) -> bool:
    """Tell whether a body can stand inside a JSON document unchanged.

    It must be strict UTF-8 without BOM and one JSON value. The parse is what makes embedding safe: unchecked bytes
    could close the value and forge the envelope around it.
    """
    try:
        text = body.decode("utf-8")
        if not _is_json_for_sure(body):
            json.loads(text, parse_constant=_reject)
    except (ValueError, RecursionError):
        return False
    return True


def _is_json_for_sure(body: bytes) -> bool:
    """Tell by a scan that makes no objects of it, several times as fast as a parse, whether UTF-8 text is JSON.

    It says yes only where the json module does, too; to half a surrogate pair, for one, it says no.
    """
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return not _may_hold_a_long_number(body)


def _may_hold_a_long_number(body: bytes) -> bool:
    """Look at places so near to each other that a number of more than 4,300 digits fills a stretch between two."""
    step = _LONGEST_NUMBER // 3
    starts = (number * step for number, byte in enumerate(body[::step]) if byte in _DIGITS)
    return any(len(stretch := body[at : at + step]) == step and stretch.isdigit() for at in starts)


def envelope(head: dict[str, Any], key: str, text: bytes) -> bytes:
    """Build a pair file whose last key holds `text`, a JSON value, byte for byte.

    `body_bytes`, the text's length, is the second key, so that a reader can slice the text without parsing it.
    """
    first, *rest = head.items()
    fields = dict([first, ("body_bytes", len(text)), *rest])
    start = f'{json.dumps(fields, separators=(",", ":"))[:-1]},"{key}":'.encode()
    return b"".join((start, text, b"}\n"))


def embed_body(head: dict[str, Any], body: bytes) -> bytes:
    """Build a pair file around a request or response body, whatever the body is."""
    if is_embeddable(body):
        return envelope(head, "body", body)
    text = json.dumps({"_unparsed_raw": body.decode("utf-8", "replace")}, ensure_ascii=False).encode()
    return envelope({**head, "body_base64": base64.b64encode(body).decode()}, "body", text)


def embed_stream(head: dict[str, Any], raw: bytes) -> bytes:
    """Build a pair file around a streamed response's raw text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        head = {**head, "raw_base64": base64.b64encode(raw).decode()}
        text = raw.decode("utf-8", "replace")
    return envelope(head, "raw", json.dumps(text, ensure_ascii=False).encode())
