"""Recorded requests sent to another model, call by call, into a run of their own."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from pytest_agentcap import __version__
from pytest_agentcap.conversation.read import read_call
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.proxy.leases import Call
from pytest_agentcap.proxy.server import CaptureProxy
from pytest_agentcap.replay.recording import RecordedSession
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import Manifest
from pytest_agentcap.runs.names import safe_name
from pytest_agentcap.runs.results import SessionResult, save_result
from pytest_agentcap.runs.writer import PairWriter
from pytest_agentcap.tally import Tally, total_tokens

_GEMINI_MODEL = re.compile(r"/models/[^/:]+:")
# What belongs to the connection on which the request came.
_NOT_SENT = frozenset(
    {"host", "content-length", "content-encoding", "transfer-encoding", "connection", "accept-encoding", "expect"}
)


class UnsendableRequest(ValueError):
    """Say which recorded request cannot be sent again."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Hold what is sent: to which path and query, with which headers, as which bytes."""

    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def sending_of(record: CallRecord, model: str) -> Sending:
    """Return a recorded request as it is sent to another model: its own, but for the model that it names.

    Raises UnsendableRequest when the recording does not hold it as JSON.
    """
    body = json.loads(record.request)
    if not isinstance(body, dict) or "_unparsed_raw" in body:
        raise UnsendableRequest(f"{record.rid}: the request is no JSON object")
    if "model" in body:
        body["model"] = model
    path = _GEMINI_MODEL.sub(lambda _: f"/models/{quote(model, safe='')}:", record.text("path") or "")
    told = record.facts.get("request_headers") or []
    headers = json.loads(told) if isinstance(told, str) else told
    kept = tuple((name, value) for name, value in headers if name.lower() not in _NOT_SENT)
    named = any(name.lower() == "content-type" for name, _ in kept)
    return Sending(
        path or "/v1/chat/completions",
        record.text("query") or "",
        kept if named else (*kept, ("content-type", "application/json")),
        json.dumps(body).encode(),
    )


class Reissuer:
    """Send the calls of recorded sessions through a proxy into one run; sessions may be sent at the same time."""

    def __init__(self, run: RunDirectory, proxy: CaptureProxy, pairs: PairWriter, model: str) -> None:
        self._run, self._proxy, self._pairs, self._model = run, proxy, pairs, model
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._endpoint = proxy.listen(listener)

    def close(self) -> None:
        self._endpoint.close()

    def send(self, sessions: Sequence[RecordedSession], at_once: int, on_call: Callable[[Call], None]) -> None:
        """Send every call of every session, those of one session after another; each session gets its result file.

        Raises RecordingError or OSError.
        """
        names = _names(sessions)
        with ThreadPoolExecutor(at_once) as pool:
            work = [pool.submit(self._send_session, *each, on_call) for each in zip(names, sessions, strict=True)]
            for each in work:
                each.result()

    def _send_session(self, name: str, session: RecordedSession, on_call: Callable[[Call], None]) -> None:
        import httpx

        records = session.load()
        started = time.time()
        journal = self._run.journal(name)
        lease = self._proxy.grant(journal, {**_head(records[0]), "session": name})
        self._pairs.follow(journal, self._run.captures)
        notes = []
        try:
            with httpx.Client(base_url=f"{self._url}/{lease.token}", timeout=None, trust_env=False) as client:
                for record in records:
                    lease.turn, lease.marks = record.integer("turn") or 1, {"reissued_from": record.rid}
                    try:
                        _send(client, sending_of(record, self._model))
                    except UnsendableRequest as error:
                        notes.append(str(error))
                    else:
                        on_call(lease.calls[-1])
        finally:
            self._proxy.revoke(lease)
            self._pairs.finish(journal, self._run.captures)
        save_result(self._run, self._result(name, records[0], list(lease.calls), started, notes))

    def _result(
        self, name: str, first: CallRecord, calls: Sequence[Call], started: float, notes: Sequence[str]
    ) -> SessionResult:
        rids = [call.rid for call in calls]
        tally = Tally.of(self._run, rids, self._model)
        failed = [call for call in calls if call.error or call.status is None or call.status >= 400]
        told = failed[0].error or f"status {failed[0].status}" if failed else None
        return SessionResult(
            session=name,
            task_id=first.text("task_id") or "",
            index=0,
            corpus=first.text("corpus") or "",
            source=f"reissued from {first.text('run_id') or 'a recording'}",
            trial=first.integer("trial") or 1,
            attempt=1,
            agent=first.text("agent") or "",
            agent_version=first.text("agent_version") or "",
            model=self._model,
            sandbox="none",
            nodeid=f"reissue::{name}",
            prompt=_prompt(first),
            started_at=round(started, 3),
            ended_at=round(time.time(), 3),
            # No agent ran: what may fail is the infrastructure alone.
            verdict="infra" if failed or not calls else "captured",
            reason=f"{len(failed)} of {len(calls)} calls failed, the first with {told}" if failed else None,
            calls=len(calls),
            prompt_tokens=total_tokens(tally.own_tokens, 0),
            completion_tokens=total_tokens(tally.own_tokens, 1),
            models=tally.by_model(rids, self._model),
            request_ids=tuple(rids),
            notes=tuple(notes),
        )


def begin_manifest(run: RunDirectory, facts: dict[str, Any]) -> Manifest:
    """Write what a run of reissued calls is, and return its manifest to bring up to date."""
    common: dict[str, Any] = {"followup": None, "agentcap_version": __version__, "sandbox": None, "network": None}
    common |= {"created_at": int(time.time()), "python": sys.version.split()[0]}
    manifest = Manifest(run, {**facts, "turns_per_task": 0, **common})
    manifest.update()
    return manifest


def only_call(session: RecordedSession, rid: str) -> RecordedSession:
    """Return a session that holds one of its calls."""
    load = session.load
    return replace(session, load=lambda: [record for record in load() if record.rid == rid])


def _names(sessions: Sequence[RecordedSession]) -> list[str]:
    """Give each session a file name of its own: that which it had, and a number where several had the same."""
    names: list[str] = []
    for session in sessions:
        base = safe_name(session.key[5] or session.key[2] or "session")
        taken = names.count(base) + sum(name.startswith(f"{base}-r") for name in names)
        names.append(f"{base}-r{taken + 1}" if taken else base)
    return names


def _head(first: CallRecord) -> dict[str, Any]:
    named = {name: first.text(name) for name in ("task_id", "corpus", "agent", "label")}
    return {**named, "trial": first.integer("trial") or 1, "attempt": 1}


def _prompt(first: CallRecord) -> str:
    return next((message.text for message in read_call(first).request.messages if message.role == "user"), "")


def _send(client: Any, sending: Sending) -> None:
    """Send a request and read its answer to the end; what becomes of it is in the proxy's record."""
    import httpx

    query = f"?{sending.query}" if sending.query else ""
    request = client.build_request(
        "POST", f"{sending.path}{query}", headers=list(sending.headers), content=sending.body
    )
    try:
        answer = client.send(request, stream=True)
        try:
            for _ in answer.iter_raw():
                pass
        finally:
            answer.close()
    except httpx.TransportError:
        # An answer that broke off breaks off here as well, and is recorded as that.
        return
