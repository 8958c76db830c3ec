"""Which headers travel, and which are stored."""

from __future__ import annotations

from pytest_agentcap.proxy.apis import KEY_HEADERS

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade expect".split()
)
_NOT_FORWARDED = _HOP_BY_HOP | KEY_HEADERS | {b"host", b"content-length"}
_NOT_RECORDED = KEY_HEADERS | {b"cookie", b"set-cookie", b"proxy-authorization"}


def without_hop_by_hop(headers: Headers) -> Headers:
    """Drop what is meant for one connection only: RFC 9110 section 7.6.1, and what `connection` names."""
    dropped = _HOP_BY_HOP | _named_in_connection(headers)
    return [(name, value) for name, value in headers if name not in dropped]


def for_the_upstream(received: Headers, key: tuple[bytes, bytes] | None) -> Headers:
    """Return the headers of a forwarded request: the agent's, less its keys, and the upstream's own key."""
    dropped = _NOT_FORWARDED | _named_in_connection(received)
    headers = [(name, value) for name, value in received if name not in dropped]
    return [*headers, key] if key else headers


def recordable(headers: Headers) -> list[list[str]]:
    """Return headers as they are stored: no keys, no cookies."""
    return [[k.decode("latin-1"), v.decode("latin-1")] for k, v in headers if k not in _NOT_RECORDED]


def _named_in_connection(headers: Headers) -> frozenset[bytes]:
    named = [value for name, value in headers if name == b"connection"]
    return frozenset(token.strip().lower() for value in named for token in value.split(b",")) if named else frozenset()
