"""A session on its way into the page: its calls read one after another, its bodies packed, all told as one document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.conversation.session import Conversation, SessionReader, transcript
from pytest_agentcap.conversation.threads import Thread
from pytest_agentcap.runs.captures import wire_bytes
from pytest_agentcap.view.measured import measured
from pytest_agentcap.view.messages import MessageTable, Told, ToolTable, tell_sampling
from pytest_agentcap.view.pool import Pool, Slices, compress
from pytest_agentcap.view.spans import spans_of

# What a call's record holds beside bodies is shown as it is, but for what is long and told elsewhere.
_NOT_SHOWN = frozenset({"body_base64", "raw_base64", "chunk_ms", "request", "response", "telemetry", "circumstances"})
_TOLD_ELSEWHERE = frozenset({"request_ids", "telemetry"})


@dataclass(frozen=True, slots=True)
class PackedSession:
    """Hold a session for the page: facts for its list, its document, and the blocks of its pool; both compressed."""

    facts: Mapping[str, Any]
    document: bytes
    blocks: tuple[bytes, ...]
    raw_bytes: int


@dataclass(slots=True)
class SessionPacker:
    """Take a session's calls in the order in which they were made; their bodies are not kept.

    `of_run` is what the run says of all its sessions.
    """

    of_run: Mapping[str, Any] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)
    raw_bytes: int = 0
    _reader: SessionReader = field(default_factory=SessionReader)
    _calls: list[Call] = field(default_factory=list)
    _bodies: list[tuple[Slices, Slices | None, bool]] = field(default_factory=list)

    def add(self, record: CallRecord) -> None:
        call = self._reader.read(record)
        response, stream = None, False
        if record.response is not None:
            response, stream = self.pool.add_whole(wire_bytes(record.response)), record.response.key == "raw"
        self._bodies.append((self.pool.add_body(record.request), response, stream))
        self.raw_bytes += len(record.request) + (len(record.response.text) if record.response else 0)
        self._calls.append(replace(call, record=replace(record, request=b"", response=None)))

    def finish(self, result: Mapping[str, Any], patch: bytes | None) -> PackedSession:
        """Tell the whole session; `result` is empty where there is no result file."""
        conversation = Conversation(tuple(self._calls))
        document = self._document(conversation)
        document["result"] = {name: value for name, value in result.items() if name not in _TOLD_ELSEWHERE}
        document["measured"] = measured(result, self._calls)
        document["patch"] = None if patch is None else self.pool.add(patch)
        text = json.dumps(document, separators=(",", ":")).encode()
        blocks = tuple(self.pool.blocks())
        return PackedSession(self._facts(result, patch), compress(text), blocks, self.raw_bytes)

    def _document(self, conversation: Conversation) -> Told:
        messages, tools = MessageTable(self.pool), ToolTable(self.pool)
        numbers = {id(call): number for number, call in enumerate(conversation.calls)}
        told = [self._tell_call(number, call, messages, tools) for number, call in enumerate(conversation.calls)]
        threads = [_tell_thread(thread, numbers, told, messages) for thread in conversation.threads]
        # Facts of all calls stand together: they are alike, and compress to nearly nothing so.
        for number, call in enumerate(conversation.calls):
            told[number]["facts"] = self.pool.add_whole(_facts_text(call.record))
        spans = spans_of(conversation, numbers)
        return {"calls": told, "threads": threads, "messages": messages.told, "tools": tools.told, "spans": spans}

    def _tell_call(self, number: int, call: Call, messages: MessageTable, tools: ToolTable) -> Told:
        request, response, stream = self._bodies[number]
        answer = call.answer
        return {
            "rid": call.rid,
            "api": call.api,
            "model": call.model,
            "turn": call.turn,
            "status": call.status_code,
            "start": call.started_at_ns,
            "first": call.first_byte_at_ns,
            "end": call.ended_at_ns,
            "usage": asdict(call.usage),
            "finish": answer.finish_reason if answer else None,
            "ended": answer.ended if answer else None,
            "error": answer.error.message if answer and answer.error else None,
            "opaque": call.opaque,
            "messages": messages.runs(call.request.messages),
            "tools": tools.number(call.request.tools),
            "sampling": tell_sampling(asdict(call.request.sampling)),
            "said": None if call.said is None else messages.number(call.said),
            "others": [messages.number(other) for other in answer.alternatives] if answer else [],
            "request": request,
            "response": response,
            "stream": stream,
        }

    def _facts(self, result: Mapping[str, Any], patch: bytes | None) -> Told:
        record = self._calls[0].record.facts if self._calls else {}
        calls = self._calls

        def known(name: str) -> Any:
            told = (facts[name] for facts in (result, record, self.of_run) if facts.get(name) is not None)
            return next(told, None)

        names = ("corpus", "task_id", "session", "trial", "attempt", "agent", "agent_version", "model", "verdict")
        starts = [call.started_at_ns for call in calls if call.started_at_ns is not None]
        ends = [call.ended_at_ns for call in calls if call.ended_at_ns is not None]
        return {
            **{name: known(name) for name in names},
            "run_id": known("run_id"),
            "reason": result.get("reason"),
            "prompt": _short(result.get("prompt") or _first_prompt(calls)),
            "calls": len(calls),
            "prompt_tokens": _sum(call.usage.prompt_tokens for call in calls),
            "completion_tokens": _sum(call.usage.completion_tokens for call in calls),
            "seconds": (max(ends) - min(starts)) / 1e9 if starts and ends else None,
            "patch": patch is not None,
        }


def _tell_thread(thread: Thread, numbers: Mapping[int, int], calls: list[Told], messages: MessageTable) -> Told:
    """Tell a thread's steps, and with each of its calls which messages came up there for the first time."""
    steps = []
    for step in thread.steps:
        number = numbers[id(step.call)]
        calls[number] |= {"told": [], "copied": False}
        previous = None if step.previous is None else numbers[id(step.previous)]
        delta = step.delta
        steps.append([number, step.relation, previous, delta.kept, delta.removed, delta.added])
    for entry in transcript(thread):
        if not entry.answer:
            call = calls[numbers[id(entry.call)]]
            call["told"].append(messages.number(entry.message))
            call["copied"] = entry.copied
    return {
        "kind": thread.kind,
        "parent": None if thread.parent is None else numbers[id(thread.parent)],
        "steps": steps,
    }


def _facts_text(record: CallRecord) -> bytes:
    return json.dumps({k: v for k, v in record.facts.items() if k not in _NOT_SHOWN and v is not None}).encode()


def _first_prompt(calls: list[Call]) -> str | None:
    texts = (message.text for call in calls for message in call.request.messages if message.role == "user")
    return next(texts, None)


def _short(text: str | None, limit: int = 300) -> str | None:
    return text if text is None or len(text) <= limit else text[: limit - 1] + "…"


def _sum(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
