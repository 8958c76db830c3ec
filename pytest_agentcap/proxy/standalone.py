"""The capture proxy on its own: any client, one folder of captures, for as long as it is wanted."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.proxy.leases import Call, Lease, new_token
from pytest_agentcap.proxy.ratelimit import RateLimit
from pytest_agentcap.proxy.server import CaptureProxy
from pytest_agentcap.runs.writer import PairWriter

ROLL_BYTES = 256 << 20
_BACKLOG = 512
_SESSION = {"task_id": None, "session": None, "corpus": None, "trial": 1, "attempt": 1, "agent": None, "label": None}


def open_listener(host: str, port: int) -> socket.socket:
    """Listen at an address, of either family; port 0 means any that is free. Raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


class StandaloneProxy:
    """Serve one address under one lease, or with `token` None to everyone who reaches it.

    A journal that has grown long is followed by a new one, and deleted when the last call in it has its pair: a session
    without an end must not fill the disk twice.
    """

    def __init__(
        self,
        upstream: Upstream,
        listener: socket.socket,
        captures: Path,
        token: str | None,
        on_call: Callable[[Call], None],
        secrets: tuple[str, ...] = (),
        roll_bytes: int = ROLL_BYTES,
        limit: RateLimit | None = None,
    ) -> None:
        """Serve a socket of `open_listener`. `limit` is shared with other proxies.

        Raises OSError when the captures cannot be written.
        """
        self._captures, self._on_call, self._roll_bytes = captures, on_call, roll_bytes
        token_or_any = token or new_token()
        self._session = {**_SESSION, "lease": token_or_any}
        self._number = 0
        self._retired: list[Journal] = []
        self.port: int = listener.getsockname()[1]
        self._writer = PairWriter(secrets)
        self._proxy = CaptureProxy(upstream, limit=limit)
        self._lease = Lease(token_or_any, self._next_journal(), calls=deque(maxlen=1), on_end=self._ended)
        if token is None:
            self._proxy.leases.everyone = self._lease
        else:
            self._proxy.leases.admit(self._lease)
        self._endpoint = self._proxy.listen(listener)

    def close(self) -> None:
        """Let calls in flight end, cut the rest, and make every pair.

        Raises OSError when pairs cannot be written; their journal is then kept.
        """
        self._proxy.revoke(self._lease)
        self._endpoint.close()
        self._proxy.close()
        try:
            for journal in (*self._retired, self._lease.journal):
                journal.close()
                self._writer.finish(journal.path, self._captures)
        finally:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ended(self, call: Call) -> None:
        if self._lease.journal.size >= self._roll_bytes:
            self._retired.append(self._lease.journal)
            self._lease.journal = self._next_journal()
        busy = {journal.path for journal in self._lease.in_flight.values()} if self._retired else set()
        for journal in [each for each in self._retired if each.path not in busy]:
            journal.close()
            self._writer.retire(journal.path, self._captures)
            self._retired.remove(journal)
        self._on_call(call)

    def _next_journal(self) -> Journal:
        self._number += 1
        journal = Journal(self._captures / f"proxy-{os.getpid()}-{self._number}.journal", self._session)
        self._writer.follow(journal.path, self._captures)
        return journal
