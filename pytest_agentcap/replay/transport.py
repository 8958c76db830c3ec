"""The replay as the proxy's upstream: recorded answers in a model server's place, and where they end, one itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

from pytest_agentcap.proxy.apis import error_body
from pytest_agentcap.proxy.headers import Headers
from pytest_agentcap.proxy.wire import Outgoing, Reply, Transport
from pytest_agentcap.replay.answer import RecordedAnswer, answer_of
from pytest_agentcap.replay.session import LIVE, SessionReplay
from pytest_agentcap.runs.decoding import decode_body

_JSON: Headers = [(b"content-type", b"application/json")]
# Clients try again after what may pass (408, 409, 429, 5xx); that a request was not recorded does not.
_MISSED = 400


class ReplayTransport:
    """Answer the requests of sessions from their recordings; `live` answers those that are to have a model's answer."""

    def __init__(
        self, sessions: Mapping[str, SessionReplay], models: tuple[str, ...], live: Transport | None, real_pace: bool
    ) -> None:
        self._sessions, self._models, self._live, self._real_pace = sessions, models, live, real_pace

    async def send(self, request: Outgoing, on_connected: Callable[[], None]) -> Reply:
        origin = request.origin
        assert origin is not None
        if origin.api is None:
            if self._live is not None:
                return await self._live.send(request, on_connected)
            on_connected()
            return self._forwarded(origin.path)
        session = self._sessions.get(origin.lease)
        found = session.answer(origin, _plain_body(request)) if session else "the session has no recording"
        if found is LIVE:
            assert self._live is not None
            return await self._live.send(request, on_connected)
        on_connected()
        if isinstance(found, str):
            return _own(_MISSED, error_body(origin.api, _MISSED, f"agentcap: replay: {found}"))
        answer = answer_of(found)
        if answer.status is None:
            assert answer.failure is not None
            raise answer.failure
        return _RecordedReply(answer, answer.status, self._real_pace)

    async def aclose(self) -> None:
        if self._live is not None:
            await self._live.aclose()

    def _forwarded(self, path: str) -> Reply:
        """Answer what agents ask beside their calls, which recordings do not hold: which models there are."""
        if path.rstrip("/").endswith("/models"):
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "replay"} for name in self._models]
            return _own(200, json.dumps({"object": "list", "data": models}).encode())
        return _own(404, error_body(None, 404, "agentcap: replay: only calls to models are recorded"))


class _RecordedReply:
    """One recorded answer, piece by piece; `real_pace` waits with each until it had come when it was recorded."""

    def __init__(self, answer: RecordedAnswer, status: int, real_pace: bool) -> None:
        self.status, self.headers = status, answer.headers
        self.replayed_from: str | None = answer.rid or None
        self._answer = answer
        self._times = answer.at_ms if real_pace else ()
        self._next = 0
        self._started = asyncio.get_running_loop().time()

    @property
    def at_end(self) -> bool:
        return self._next >= len(self._answer.pieces) and self._answer.failure is None

    async def read(self) -> bytes:
        while self._next < len(self._answer.pieces):
            at = self._next
            if self._times:
                await asyncio.sleep(self._started + self._times[at] / 1000 - asyncio.get_running_loop().time())
            self._next += 1
            # Decoding may leave nothing of a piece, which would look like the end.
            if self._answer.pieces[at]:
                return self._answer.pieces[at]
        if self._answer.failure is not None:
            raise self._answer.failure
        return b""

    def close(self) -> None:
        self._next = len(self._answer.pieces)


def _plain_body(request: Outgoing) -> bytes:
    """Return a request's body as recordings hold it: its content encoding undone."""
    encoding = next((value.decode("latin-1") for name, value in request.headers if name == b"content-encoding"), "")
    return decode_body(b"".join(request.body), encoding, True, None)[0]


def _own(status: int, body: bytes) -> Reply:
    headers = [*_JSON, (b"content-length", str(len(body)).encode())]
    return _RecordedReply(RecordedAnswer("", status, headers, (body,), (), None), status, real_pace=False)
