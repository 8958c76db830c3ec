"""What every transport to the upstream is given, returns and raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_agentcap.proxy.headers import Headers

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call, Waiting

HEAD_BYTES = 1 << 16
FailureKind = Literal["upstream_refused", "upstream_reset", "upstream_timeout", "bad_gateway"]


@dataclass(frozen=True, slots=True)
class Pace:
    """Hold where it is noted that a call was held back: of the call, and of its whole session."""

    waiting: Waiting
    call: Call


@dataclass(frozen=True, slots=True)
class Origin:
    """Say which request of whose this is: its lease and turn, and its path and query as the agent sent them.

    `api` and `pace` are None for what is only forwarded.
    """

    lease: str
    turn: int
    api: str | None
    path: str
    query: str
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Hold a request as it goes over the wire; `target` is its path and query, `body` the pieces of its body.

    `host` and the headers that frame a body are not among `headers`: the transport adds them. `origin` stays here.
    """

    method: str
    target: bytes
    headers: Headers
    body: Sequence[bytes]
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a transport waits, in seconds: for a connection, while nothing moves on one, before an idle one goes."""

    connect_s: float
    silence_s: float
    keep_alive_s: float


class UpstreamFailure(Exception):
    """Say what kept an answer from coming, or from coming whole; `kind` is the capture's word for it."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Reply(Protocol):
    """An answer whose head is there; header names are in lower case, hop-by-hop headers included.

    `replayed_from` is the rid of the recorded call whose answer this is, None for a model server's.
    """

    status: int
    headers: Headers
    replayed_from: str | None

    @property
    def at_end(self) -> bool:
        """Tell whether all of the body has been read; true with the last byte of a body whose length was told."""

    async def read(self) -> bytes:
        """Wait for more of the body and return it as it was on the wire, or `b""` at its end.

        Raises UpstreamFailure when it breaks off, after all that had come was returned.
        """

    def close(self) -> None:
        """Drop what has not been read, and the connection with it unless the answer was complete."""


class Transport(Protocol):
    """Send requests to one upstream, each over a connection of its own, which is kept for later ones."""

    async def send(self, request: Outgoing, on_connected: Callable[[], None]) -> Reply:
        """Send one request and return its answer as soon as the head is there; nothing is followed, decoded or kept.

        `on_connected` is called when a connection is there, new or kept. Cancelling closes the connection. Raises
        UpstreamFailure.
        """

    async def aclose(self) -> None:
        """Close every connection."""


def refused(error: Exception) -> UpstreamFailure:
    return UpstreamFailure("upstream_refused", f"the upstream is not reachable: {_said(error)}")


def not_accepted(error: Exception) -> UpstreamFailure:
    return UpstreamFailure("upstream_timeout", f"the upstream did not accept a connection: {_said(error)}")


def silent(error: Exception | str) -> UpstreamFailure:
    return UpstreamFailure("upstream_timeout", f"the upstream fell silent: {_said(error)}")


def broken_off(error: Exception | str) -> UpstreamFailure:
    return UpstreamFailure("upstream_reset", f"the upstream broke the connection: {_said(error)}")


def malformed(error: Exception | str) -> UpstreamFailure:
    return UpstreamFailure("bad_gateway", f"the upstream does not speak HTTP: {_said(error)}")


def _said(error: Exception | str) -> str:
    return str(error) or type(error).__name__
