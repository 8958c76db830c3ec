"""One recording that is replayed: it gives the sessions of a worker their answers, and the proxy its transport."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_agentcap.proxy.client import open_transport
from pytest_agentcap.proxy.leases import Lease
from pytest_agentcap.proxy.ratelimit import PacedTransport, RateLimit
from pytest_agentcap.proxy.wire import Transport
from pytest_agentcap.replay.form import Rules
from pytest_agentcap.replay.matcher import Candidate, Identity, Matcher, candidates_for
from pytest_agentcap.replay.recording import Recording, open_recording
from pytest_agentcap.replay.session import SessionReplay
from pytest_agentcap.replay.settings import ReplaySettings
from pytest_agentcap.replay.transport import ReplayTransport


class Replay:
    """Serve a recording to one session after another."""

    def __init__(self, recording: Recording, settings: ReplaySettings) -> None:
        self._recording, self._settings = recording, settings
        # The proxy's thread reads it by lease while the session's adds to it.
        self._sessions: dict[str, SessionReplay] = {}

    @classmethod
    def of(cls, source: str, workspace: Path, settings: ReplaySettings) -> Replay:
        """Open a recording; what it holds of bodies is read session by session. Raises RecordingError."""
        return cls(open_recording(source, workspace), settings)

    def open(self, lease: Lease, identity: Identity, rules: Rules) -> SessionReplay:
        """Read what a session is a repetition of, and answer its calls from now on. Raises RecordingError."""
        told = candidates_for(identity, self._recording)
        matcher = Matcher([Candidate.of(session, rules) for session in told], rules)

        def halt(reason: str) -> None:
            lease.halt = reason

        session = SessionReplay(matcher, self._settings.mode, self._settings.fork_at, halt)
        self._sessions[lease.token] = session
        return session

    def close(self, lease: Lease) -> None:
        """Forget a session whose lease was taken back."""
        self._sessions.pop(lease.token, None)

    def transport(self, origin: str, limit: RateLimit | None = None) -> Transport:
        """Open what the proxy sends requests to; `origin` is the model server's, should there be one.

        `limit` holds for what that server is asked, and not for what is recorded.
        """
        live = open_transport(origin) if self._settings.upstream else None
        if live and limit:
            live = PacedTransport(live, limit)
        return ReplayTransport(self._sessions, self._recording.models, live, self._settings.real_pace)


@dataclass(frozen=True, slots=True)
class ReplayFor:
    """Hold what replays one session."""

    replay: Replay
    identity: Identity
    rules: Rules

    def open(self, lease: Lease) -> SessionReplay:
        """Answer the session's calls from now on. Raises RecordingError."""
        return self.replay.open(lease, self.identity, self.rules)

    def close(self, lease: Lease) -> None:
        self.replay.close(lease)
