"""How many calls, tokens and dollars a session and its run may use; enforced where calls are forwarded."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.conversation.asked import asked_model
from pytest_agentcap.conversation.usage import Usage, usage_of
from pytest_agentcap.limits import Limits, Used
from pytest_agentcap.runs.captures import Capture, CaptureError, find_captures
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import read_result

if TYPE_CHECKING:
    from pytest_agentcap.prices import Prices
    from pytest_agentcap.proxy.leases import Call, Lease

# An agent that was refused a call has so long to end its turn by itself.
GRACE_S = 10.0
_LAYOUT = struct.Struct("<qqd")


class LimitReached(Exception):
    """Say which limit ended a turn."""


class Ledger:
    """Add up what all workers use in one run, in a file that is locked for each change."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits

    def open(self, used: Used) -> None:
        """Make the file, with what the run had used before."""
        self._path.write_bytes(_LAYOUT.pack(used.calls, used.tokens, used.cost_usd))

    def exhausted(self) -> str | None:
        """Say why no further session of the run may begin."""
        return self._change(lambda used: (used, self._limits.reached(used)))

    def admit(self) -> str | None:
        """Count a call that is about to be made; say why it may not be, and count nothing."""

        def change(used: Used) -> tuple[Used, str | None]:
            refusal = self._limits.reached(used)
            return (used if refusal else used.plus(Used(calls=1))), refusal

        return self._change(change)

    def add(self, used: Used) -> None:
        """Add what calls have turned out to use."""
        self._change(lambda before: (before.plus(used), None))

    def _change(self, change: Callable[[Used], tuple[Used, str | None]]) -> str | None:
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = Used(*_LAYOUT.unpack(os.pread(descriptor, _LAYOUT.size, 0)))
            after, said = change(before)
            if after != before:
                os.pwrite(descriptor, _LAYOUT.pack(after.calls, after.tokens, after.cost_usd), 0)
            return said
        finally:
            os.close(descriptor)


class Budget:
    """Hold one session to its limits and its run's: the proxy asks before each call, the session looks at their use.

    Calls are counted as they begin. Tokens and dollars are known when a call's pair file is there, and the session
    looks a few times a second: calls that begin before that are let through.
    """

    def __init__(
        self, limits: Limits, ledger: Ledger | None, prices: Prices | None, captures: Path, model: str
    ) -> None:
        self._limits, self._ledger, self._prices = limits, ledger, prices
        self._captures, self._model = captures, model
        self._lease: Lease | None = None
        # The proxy's thread alone counts the one, the session's the other.
        self._calls = 0
        self._counted = Used()
        self._open: list[Call] = []
        self._seen = 0
        self._unpriced = self._uncounted = 0
        self._refused_at: float | None = None
        self.reached: str | None = None
        self.run_limit = False

    @property
    def cost_usd(self) -> float | None:
        """Return what the session cost; None without prices, or when the price or the tokens of a call are unknown."""
        return None if self._prices is None or self._unpriced else round(self._counted.cost_usd, 9)

    @property
    def notes(self) -> list[str]:
        if not self._uncounted or not (self._limits or self._ledger or self._prices):
            return []
        return [f"{self._uncounted} calls without a token count of the upstream's: limits of tokens and cost miss them"]

    def watch(self, lease: Lease) -> None:
        """Be asked before each call of a lease, if there is a limit."""
        self._lease = lease
        if self._limits or self._ledger:
            lease.allowance = self

    def refusal(self) -> str | None:
        """Count a call or say why it may not be made; the proxy's thread asks."""
        refusal = self._limits.reached(self._counted.plus(Used(calls=self._calls)))
        if refusal is None and self._ledger is not None:
            refusal = self._ledger.admit()
            self.run_limit = refusal is not None
        if refusal is None:
            self._calls += 1
            return None
        self.reached = refusal
        self._refused_at = self._refused_at or time.monotonic()
        return refusal

    def check(self) -> None:
        """Look at what calls have used.

        Raises LimitReached when an agent goes on after it was refused a call, and none is on its way.
        """
        assert self._lease is not None
        self._count()
        if self._refused_at is None or self._lease.in_flight or time.monotonic() < self._refused_at + GRACE_S:
            return
        raise LimitReached(self.reached)

    def finish(self) -> None:
        """Count what is left; all pair files are there."""
        self._count()
        for call in self._open:
            self._note(call, Usage(), None)
        self._open = []

    def _count(self) -> None:
        """Add the calls whose pairs have come since."""
        if self._lease is None or not (self._limits or self._ledger or self._prices):
            return
        calls: Sequence[Call] = self._lease.calls[self._seen :]
        self._seen += len(calls)
        self._open += calls
        waiting = []
        for call in self._open:
            capture = Capture(call.rid, self._captures)
            try:
                response = capture.response
                if response is None:
                    waiting.append(call)
                    continue
                asked = asked_model(capture.request) if self._prices else None
                self._note(call, usage_of(call.api, response), asked or self._model)
            except (CaptureError, FileNotFoundError):
                # Foreign to a session's own files; what cannot be read is not counted, and a note says so.
                self._note(call, Usage(), None)
        self._open = waiting

    def _note(self, call: Call, usage: Usage, model: str | None) -> None:
        if call.status is not None and call.status >= 400 and usage == Usage():
            # A call that was refused costs nothing.
            return
        counts = (usage.prompt_tokens, usage.completion_tokens)
        self._uncounted += counts == (None, None)
        price = self._prices.find(model) if self._prices and model else None
        cost = price.cost_usd(usage) if price else None
        self._unpriced += cost is None
        used = Used(tokens=sum(count or 0 for count in counts), cost_usd=cost or 0.0)
        self._counted = self._counted.plus(used)
        if self._ledger is not None:
            self._ledger.add(used)


def ledger_of(state: Path, run: RunDirectory, limits: Limits) -> Ledger | None:
    """Return what adds up the use of a run, in the folder of its owner; None for a run without limits."""
    name = hashlib.sha256(str(run.path).encode()).hexdigest()[:16]
    return Ledger(state / f"ledger-{name}", limits) if limits else None


def used_before(run: RunDirectory) -> Used:
    """Add up what all attempts of a run have used; calls by their captures, the rest as results tell it.

    Raises ValueError naming a file that is no result.
    """
    used = Used(calls=sum(1 for _ in find_captures(run)))
    for path in run.results.glob("*.json"):
        result = read_result(path)
        figures = [
            model[key] or 0 for model in result["models"].values() for key in ("prompt_tokens", "completion_tokens")
        ]
        used = used.plus(Used(tokens=sum(figures), cost_usd=result.get("cost_usd") or 0.0))
    return used
