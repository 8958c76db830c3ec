"""Who may call: an unguessable token per session, and what the proxy knows of that session's calls."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableSequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_agentcap.proxy.journal import Journal


@dataclass(slots=True)
class Call:
    """One model request as the proxy saw it; `status` and `duration_ms` are None while it is in flight.

    `waited_ms` is the part of its duration in which it was held back, None when it was not.
    """

    rid: str
    api: str
    turn: int
    index: int
    started_at_ns: int
    status: int | None = None
    error: str | None = None
    duration_ms: float | None = None
    waited_ms: float | None = None


@dataclass(slots=True)
class Waiting:
    """Count the time in which at least one call of a session was held back; the proxy's thread changes it."""

    _over_s: float = 0.0
    _calls: int = 0
    _since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total_s(self) -> float:
        """Return the time until now, of calls that still wait as well."""
        with self._lock:
            return self._over_s + (time.monotonic() - self._since if self._calls else 0.0)

    def begin(self) -> None:
        with self._lock:
            if not self._calls:
                self._since = time.monotonic()
            self._calls += 1

    def end(self) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls:
                self._over_s += time.monotonic() - self._since


class Allowance(Protocol):
    """What a session may still use of the upstream."""

    def refusal(self) -> str | None:
        """Say why a call may not be made; None lets it through, and counts it."""


class Relay(Protocol):
    """A request that is being forwarded, recorded or not."""

    def cut(self, error: str) -> None:
        """End it."""


@dataclass(slots=True)
class Lease:
    """One session's right to use the upstream; `turn` is stamped on each call as it arrives.

    `unrecorded` counts what was forwarded without being a call to a model, by method and path. `halt` says why no
    further call of this session can be answered, `closed` why none is taken; `gate` is waited for before each call, and
    may close the lease. `allowance` is asked before each call; without one there is no limit. `marks` are put into the
    record of each call. `in_flight` has the journal of each call that has not ended, by its rid, `running` whatever is
    being forwarded.
    """

    token: str
    journal: Journal
    turn: int = 1
    calls: MutableSequence[Call] = field(default_factory=list)
    unrecorded: Counter[str] = field(default_factory=Counter)
    fault: str | None = None
    halt: str | None = None
    marks: Mapping[str, Any] = field(default_factory=dict)
    revoked: bool = False
    closed: str | None = None
    gate: Callable[[], Awaitable[None]] | None = None
    in_flight: dict[str, Journal] = field(default_factory=dict)
    running: set[Relay] = field(default_factory=set)
    on_start: Callable[[Call], None] | None = None
    on_end: Callable[[Call], None] | None = None
    allowance: Allowance | None = None
    waiting: Waiting = field(default_factory=Waiting)
    _made: int = 0

    def next_index(self) -> int:
        """Return the next call's number in its session, from 1 on."""
        self._made += 1
        return self._made


class Leases:
    """Find the lease of a token in constant time; the digest keeps the look-up from telling how much matched."""

    def __init__(self) -> None:
        """Begin without any; `everyone` is the lease of those who need none, where a proxy stands alone."""
        self._by_digest: dict[bytes, Lease] = {}
        self._lock = threading.Lock()
        self.refused = 0
        self.everyone: Lease | None = None

    def grant(self, journal: Journal, token: str | None = None) -> Lease:
        lease = Lease(token or new_token(), journal)
        self.admit(lease)
        return lease

    def admit(self, lease: Lease) -> None:
        with self._lock:
            self._by_digest[_digest(lease.token)] = lease

    def find(self, token: str) -> Lease | None:
        """Return the lease of a token, or None, counted, when there is none."""
        lease = self._by_digest.get(_digest(token))
        if lease is None or not hmac.compare_digest(lease.token.encode(), token.encode("utf-8", "surrogateescape")):
            with self._lock:
                self.refused += 1
            return None
        return lease

    def resolve(self, raw_path: str) -> tuple[Lease | None, str]:
        """Take the lease off a request's path: return both, the lease None and counted when it is not valid."""
        if self.everyone is not None:
            return self.everyone, raw_path
        token, slash, rest = raw_path[1:].partition("/")
        return self.find(token), slash + rest

    def revoke(self, lease: Lease) -> None:
        lease.revoked = True
        with self._lock:
            self._by_digest.pop(_digest(lease.token), None)


def new_token() -> str:
    return secrets.token_hex(16)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
