"""An upstream that is broken for good ends a turn; agents would go on trying for minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.conversation.asked import asked_model, is_same_model
from pytest_agentcap.runs.captures import Capture, CaptureError

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call, Lease

# So many calls in a row that were refused (401, 403, 404, no connection) are no accident …
REFUSED_IN_A_ROW = 3
# … and after so many in a row that failed in any way, all agents but the most patient have given up.
FAILED_IN_A_ROW = 6

_REFUSALS = frozenset({401, 403, 404})
_FAILURES = _REFUSALS | {408, 429}
# Such calls were broken off on our side and tell nothing of the upstream.
_BROKEN_OFF = frozenset({"client_gone", "shutdown", "unrecorded"})


class UpstreamFault(Exception):
    """Say what the upstream does to every call."""


def tells_nothing(call: Call) -> bool:
    return call.error in _BROKEN_OFF


def trouble_of(call: Call) -> str | None:
    """Say what the upstream did wrong in a call, None when it did nothing wrong."""
    if call.error and call.error.startswith(("upstream_", "bad_gateway")):
        return f"failed: {call.error.replace('_', ' ')}"
    if call.status is not None and (call.status in _FAILURES or call.status >= 500):
        return f"answered {call.status}"
    return None


class UpstreamWatch:
    """Follow the calls of one lease, and say when their upstream is broken for good.

    Only calls for the run's `model` count: an agent may have a second one that the upstream does not. The proxy's
    thread tells what has ended, the session's asks.
    """

    def __init__(self, lease: Lease, captures: Path, model: str, upstream: str) -> None:
        self._lease, self._captures, self._model, self._upstream = lease, captures, model, upstream
        # Replaced, never changed: the other thread reads it without a lock.
        self._failed: tuple[Call, ...] = ()
        self._own: dict[str, bool] = {}
        lease.on_end = self.ended

    def ended(self, call: Call) -> None:
        """Take note of a call that has ended."""
        if not tells_nothing(call):
            self._failed = (*self._failed, call) if trouble_of(call) else ()

    def check(self) -> None:
        """Raise UpstreamFault when too many calls in a row have failed, and none is on its way that may not.

        Likewise when the lease was halted.
        """
        if self._lease.halt:
            raise UpstreamFault(self._lease.halt)
        failed = self._failed
        if len(failed) < REFUSED_IN_A_ROW or self._lease.in_flight:
            return
        own = [call for call in failed if self._is_own(call)]
        refused = len(own) >= REFUSED_IN_A_ROW and all(map(_is_refusal, own[-REFUSED_IN_A_ROW:]))
        if refused or len(own) >= FAILED_IN_A_ROW:
            raise UpstreamFault(f"the upstream {self._upstream} {trouble_of(own[-1])}, {len(own)} calls in a row")

    def _is_own(self, call: Call) -> bool:
        """Tell whether a call is for the run's model; not before its pair file is there."""
        if call.rid not in self._own:
            try:
                asked = asked_model(Capture(call.rid, self._captures).request)
            except (CaptureError, FileNotFoundError):
                return False
            self._own[call.rid] = is_same_model(asked, self._model)
        return self._own[call.rid]


def _is_refusal(call: Call) -> bool:
    return call.error == "upstream_refused" or (call.error is None and call.status in _REFUSALS)
