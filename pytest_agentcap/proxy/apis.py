"""The wire APIs the proxy knows: which path is which, where a key goes, how an error looks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

_RECORDED = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/messages": "messages",
    "/messages/count_tokens": "messages",
    "/embeddings": "embeddings",
}
_GEMINI = re.compile(r"(?:/v1(?:beta|alpha)?\d*)?/models/[^/]+:(?:generate|streamGenerate)Content")
# Empty segments, dots and slashes in any spelling, `..;x` as servlet containers read it, and what begins a fragment.
_UNSAFE = re.compile(r"//|[\\#]|%(?:2e|2f|5c)|/\.\.?(?:[/;]|\Z)", re.IGNORECASE)
_VERSION = re.compile(r"/v\d+[a-z0-9]*")
_GOOGLES = ("/v1beta/", "/v1alpha/")
KEY_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})


def api_of(method: str, path: str) -> str | None:
    """Name the recorded API a request speaks, or None when its path is only forwarded."""
    if method != "POST":
        return None
    plain = path.rstrip("/")
    return "gemini" if _GEMINI.fullmatch(plain) else _RECORDED.get(plain.removeprefix("/v1"))


def error_body(api: str | None, status: int, message: str) -> bytes:
    """Build an error in the shape that the API's own clients parse; 429 says that there is no more to be had."""
    used_up = status == 429
    if api == "messages":
        kind = "rate_limit_error" if used_up else "api_error"
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    if api == "gemini":
        kind = "RESOURCE_EXHAUSTED" if used_up else "UNAVAILABLE"
        return json.dumps({"error": {"code": status, "message": message, "status": kind}}).encode()
    if used_up:
        kind = "insufficient_quota"
        return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}}).encode()
    return json.dumps({"error": {"message": message, "type": "agentcap_error", "code": status}}).encode()


def key_style(api: str | None, path: str, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Name the API in whose way a request carries its key: on a path of no API, as the agent sent its own."""
    if api is not None:
        return api
    sent = KEY_HEADERS.intersection(name for name, _ in headers)
    if sent == {b"x-api-key"}:
        return "messages"
    return "gemini" if sent == {b"x-goog-api-key"} or path.startswith(_GOOGLES) else None


def without_key(query: str) -> str:
    """Drop Google's `key` from a query; the rest stays as it is spelled."""
    return "&".join(field for field in query.split("&") if not field.startswith("key=")) if "key=" in query else query


class UnsafePath(ValueError):
    """Say why a request path may not be joined to the upstream."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Name the model server: its URL, with or without a path prefix, and the key that only the proxy adds."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    prefix: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        prefix = quote(urlsplit(self.url).path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        object.__setattr__(self, "prefix", prefix)

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def target(self, path: str, query: str) -> str:
        """Join a request's raw path to the upstream's own.

        The leading `/v1` is dropped when the upstream's path ends in a version segment such as `/v1` or `/v4`.
        Raises UnsafePath for anything that could leave the upstream's prefix.
        """
        if not path.startswith("/") or _UNSAFE.search(path):
            raise UnsafePath(f"refused path {path!r}")
        last = "/" + self.prefix.rsplit("/", 1)[-1]
        if _VERSION.fullmatch(last) and (path == "/v1" or path.startswith("/v1/")):
            path = path[len("/v1") :]
        return self.prefix + path + (f"?{query}" if query else "")

    def key_header(self, style: str | None) -> tuple[bytes, bytes] | None:
        """Return the header that carries the key in an API's way, or None without a key."""
        if self.api_key is None:
            return None
        key = self.api_key.encode()
        if style == "messages":
            return b"x-api-key", key
        if style == "gemini":
            return b"x-goog-api-key", key
        return b"authorization", b"Bearer " + key
