"""The calls of a run or file as rows: what each told anew, against the call that it follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_agentcap.conversation.model import Call, Message
from pytest_agentcap.conversation.records import CallRecord, SessionKey
from pytest_agentcap.conversation.session import SessionReader
from pytest_agentcap.conversation.threads import Grouping
from pytest_agentcap.inspect.source import CallSource, Unreadable


@dataclass(frozen=True, slots=True)
class CallRow:
    """Hold a call without its bodies; `session` and `number` count from 1.

    `label` is `(init N)`, `(+N)` or `(-X +Y)`: its messages against those of the call that it follows. `kept` of them
    are as they were, `removed` went, `added` came. `prompt` is the session's first user message.
    """

    call: Call
    place: Any
    session: int
    number: int
    request_bytes: int
    prompt: str | None
    label: str
    kept: int = 0
    removed: tuple[Message, ...] = ()
    added: tuple[Message, ...] = ()

    @property
    def location(self) -> str:
        return f"{self.session}.{self.number}"


@dataclass(slots=True)
class _Session:
    number: int
    calls: int = 0
    prompt: str | None = None
    reader: SessionReader = field(default_factory=SessionReader)
    grouping: Grouping = field(default_factory=Grouping)


class CallList:
    """Read a source's calls once, as far as somebody goes; what was read stays.

    One thread reads at a time; any may look at `rows`.
    """

    def __init__(self, source: CallSource) -> None:
        self.source = source
        self.rows: list[CallRow | Unreadable] = []
        self._coming = self._read()

    def __iter__(self) -> Iterator[CallRow | Unreadable]:
        at = 0
        while True:
            while at < len(self.rows):
                yield self.rows[at]
                at += 1
            row = next(self._coming, None)
            if row is None:
                return
            self.rows.append(row)

    def _read(self) -> Iterator[CallRow | Unreadable]:
        sessions: dict[SessionKey, _Session] = {}
        count = 0
        for found in self.source.records():
            if isinstance(found, Unreadable):
                yield found
                continue
            record, place = found
            key = record.session
            if sessions and next(iter(sessions))[:-1] != key[:-1]:
                # Two tests of a run may have tasks of one name, whose calls come mixed; others are over.
                sessions = {}
            if key not in sessions:
                count += 1
                sessions[key] = _Session(count)
            yield _row(sessions[key], record, place)


def _row(session: _Session, record: CallRecord, place: Any) -> CallRow:
    session.calls += 1
    call = session.reader.read(record, keep_bodies=False)
    if session.prompt is None:
        session.prompt = next((m.text for m in call.request.messages if m.role == "user" and m.text.strip()), None)
    found = (call, place, session.number, session.calls, len(record.request), session.prompt)
    if call.opaque:
        return CallRow(*found, f"({call.api})")
    step = session.grouping.add(call)
    removed = step.previous.request.messages[step.delta.kept :] if step.previous else ()
    messages = call.request.messages
    return CallRow(*found, step.label, step.delta.kept, removed, messages[step.delta.kept :])
