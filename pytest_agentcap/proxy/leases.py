"""Who may call: an unguessable token per session, and what the proxy knows of that session's calls."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_agentcap.proxy.journal import Journal


@dataclass(slots=True)
class Call:
    """One model request as the proxy saw it; `status` and `duration_ms` are None while it is in flight."""

    rid: str
    api: str
    turn: int
    index: int
    started_at_ns: int
    status: int | None = None
    error: str | None = None
    duration_ms: float | None = None


@dataclass(slots=True)
class Lease:
    """One session's right to use the upstream; `turn` is stamped on each call as it arrives."""

    token: str
    journal: Journal
    on_frame: Callable[[], None]
    turn: int = 1
    calls: list[Call] = field(default_factory=list)
    fault: str | None = None
    in_flight: set[str] = field(default_factory=set)


class Leases:
    """Find the lease of a token in constant time; the digest keeps the look-up from telling how much matched."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, Lease] = {}
        self._lock = threading.Lock()
        self.refused = 0

    def grant(self, journal: Journal, on_frame: Callable[[], None], token: str | None = None) -> Lease:
        lease = Lease(token or new_token(), journal, on_frame)
        with self._lock:
            self._by_digest[_digest(lease.token)] = lease
        return lease

    def find(self, token: str) -> Lease | None:
        """Return the lease of a token, or None, counted, when there is none."""
        lease = self._by_digest.get(_digest(token))
        if lease is None or not hmac.compare_digest(lease.token.encode(), token.encode("utf-8", "surrogateescape")):
            with self._lock:
                self.refused += 1
            return None
        return lease

    def revoke(self, lease: Lease) -> None:
        with self._lock:
            self._by_digest.pop(_digest(lease.token), None)


def new_token() -> str:
    return secrets.token_hex(16)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
