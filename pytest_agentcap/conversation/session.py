"""One session as a conversation: its calls in order, its threads, what was said in each, its tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from pytest_agentcap.conversation.canonical import canonical
from pytest_agentcap.conversation.model import Call, Message, ToolCall, ToolResult
from pytest_agentcap.conversation.read import read_call
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.conversation.repeated import RepeatedBodies
from pytest_agentcap.conversation.threads import Step, Thread, group_threads


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold a message of a transcript: said by the model in `call`, or sent to it with `call` for the first time.

    `copied` marks what an agent told again in other words or places, when it rewrote or compacted its history.
    """

    message: Message
    call: Call
    answer: bool
    copied: bool = False

    @property
    def at_ns(self) -> int | None:
        """Return when it was said, in epoch nanoseconds."""
        return self.call.ended_at_ns if self.answer else self.call.started_at_ns


@dataclass(frozen=True, slots=True)
class Leaf:
    """Hold a conversation that no later call of its thread continues: the last call's messages, and its answer.

    What the model said is told as it said it, thinking included, also where the agent sent back less of it.
    """

    thread: Thread
    call: Call
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Hold a tool call with its result; `asked_by` is the call that asked for it, `told_in` the one that tells it.

    Without a result (the agent was stopped, or the history edited) `result` and `told_in` are None.
    """

    call: ToolCall
    asked_by: Call
    thread: Thread
    result: ToolResult | None
    told_in: Call | None

    @property
    def started_at_ns(self) -> int | None:
        """Return when the answer with the tool call had come: the tool ran after that."""
        return self.asked_by.ended_at_ns

    @property
    def ended_at_ns(self) -> int | None:
        """Return when the next request of the thread came: the tool ran before that."""
        return self.told_in.started_at_ns if self.told_in else None


@dataclass(frozen=True)
class Conversation:
    """Hold the calls of one session in the order in which they were made."""

    calls: tuple[Call, ...]

    @property
    def record(self) -> CallRecord:
        """Return the first call's record: what it says of run, agent and task holds for all."""
        return self.calls[0].record

    @property
    def name(self) -> str:
        """Name the session as its files are named; agentcap's own runs named it after the task."""
        return self.record.text("session") or self.record.text("task_id") or "session"

    @cached_property
    def threads(self) -> tuple[Thread, ...]:
        return group_threads(self.calls)

    @property
    def main(self) -> Thread | None:
        return next((thread for thread in self.threads if thread.kind == "main"), None)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(leaf for thread in self.threads for leaf in leaves_of(thread))

    @cached_property
    def tool_uses(self) -> tuple[ToolUse, ...]:
        return tuple(use for thread in self.threads for use in tool_uses_of(thread))


@dataclass(slots=True)
class SessionReader:
    """Read the calls of one session as they come, in the order in which they were made.

    Equal messages of following calls are held once. A request that names an earlier response instead of telling the
    conversation gets the messages it stands for.
    """

    _bodies: RepeatedBodies = field(default_factory=RepeatedBodies)
    _last: dict[str, Call] = field(default_factory=dict)
    _by_answer: dict[str, Call] = field(default_factory=dict)

    def read(self, record: CallRecord, *, keep_bodies: bool = True) -> Call:
        """Read the next call; without `keep_bodies` its record holds facts alone."""
        call = read_call(record, self._bodies.read)
        if not keep_bodies:
            call = replace(call, record=replace(record, request=b"", response=None))
        before = self._last.get(call.request.system)
        earlier = self._by_answer.get(call.request.previous_response or "")
        if earlier:
            told = (*earlier.conversation, *call.request.messages)
            call = replace(call, request=replace(call.request, messages=told))
        elif before:
            shared = _shared(before.conversation, call.request.messages)
            call = replace(call, request=replace(call.request, messages=shared))
        self._last[call.request.system] = call
        if call.answer and call.answer.id:
            self._by_answer[call.answer.id] = call
        return call


def read_conversation(records: Iterable[CallRecord]) -> Conversation:
    """Read the calls of one session, at least one."""
    reader = SessionReader()
    return Conversation(tuple(reader.read(record) for record in sorted(records, key=lambda record: record.order)))


def _shared(before: tuple[Message, ...], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Use the messages of an earlier call where they are equal: a session repeats its history with every call."""
    known = before[: len(messages)]
    return tuple(old if old == new else new for old, new in zip(known, messages, strict=False)) + messages[len(known) :]


def leaves_of(thread: Thread) -> Iterator[Leaf]:
    """Yield the conversations of a thread that nothing continues, nor tries again."""
    followed = {id(step.previous) for step in thread.steps if step.relation in ("continues", "retries")}
    steps = {id(step.call): step for step in thread.steps}
    for step in thread.steps:
        if id(step.call) not in followed:
            yield Leaf(thread, step.call, _as_said(step, steps))


def _as_said(last: Step, steps: dict[int, Step]) -> tuple[Message, ...]:
    """Put the model's own answers in the place of what the agent made of them in its history."""
    messages = list(last.call.conversation)
    step: Step | None = last
    while step:
        said, at = step.call.said, len(step.call.request.messages)
        if said and at < len(messages) and canonical(messages[at]) == canonical(said):
            messages[at] = said
        joined = step.relation in ("continues", "retries")
        step = steps.get(id(step.previous)) if joined and step.previous else None
    return tuple(messages)


def transcript(thread: Thread) -> tuple[Entry, ...]:
    """Tell a thread as it went: each message once, where it came up first, and every answer.

    Calls that were tried again after they failed tell nothing; what a failed call had said is there.
    """
    entries: list[Entry] = []
    for step in thread.steps:
        if step.relation != "retries":
            entries.extend(_new_entries(step))
        if step.call.said:
            entries.append(Entry(step.call.said, step.call, answer=True))
    return tuple(entries)


def _new_entries(step: Step) -> Iterator[Entry]:
    messages = step.call.request.messages[step.delta.kept :]
    said = step.previous.said if step.previous else None
    if said and step.relation == "continues" and messages and messages[0].role == "assistant":
        # The answer itself, told when it came.
        messages = messages[1:]
    copied = step.relation in ("rewrites", "compacts")
    return (Entry(message, step.call, answer=False, copied=copied) for message in messages)


def tool_uses_of(thread: Thread) -> Iterator[ToolUse]:
    """Join the tool calls of a thread to their results in the requests that follow.

    By id; where the agent gave its calls ids of its own, by those; where there are none, by position.
    """
    followers: dict[int, list[Step]] = {}
    for step in thread.steps:
        if step.previous and step.relation != "retries":
            followers.setdefault(id(step.previous), []).append(step)
    for step in thread.steps:
        calls = step.call.said.tool_calls if step.call.said else ()
        told = [_Told.by(step.call, later) for later in followers.get(id(step.call), [])]
        for position, call in enumerate(calls):
            found = ((result, later.call) for later in told if (result := later.result_of(call, position)))
            result, told_in = next(found, (None, None))
            yield ToolUse(call, step.call, thread, result, told_in)


@dataclass(frozen=True, slots=True)
class _Told:
    """Hold what a later request tells of the results of a call's tool calls, and how it names these."""

    call: Call
    results: tuple[ToolResult, ...]
    repeated: tuple[ToolCall, ...]

    @classmethod
    def by(cls, asked: Call, later: Step) -> _Told:
        """Look behind what the call had seen; in a rewritten history, at all of it."""
        seen = len(asked.request.messages) if later.relation == "continues" else 0
        messages = later.call.request.messages[seen:]
        repeated = messages[0].tool_calls if seen and messages else ()
        return cls(later.call, tuple(result for message in messages for result in message.tool_results), repeated)

    def result_of(self, call: ToolCall, position: int) -> ToolResult | None:
        """Return a tool call's result by its id, by the id the agent gave it instead, or by its position."""
        renamed = self.repeated[position].id if position < len(self.repeated) else None
        for identity in (call.id, renamed):
            for result in self.results:
                if identity is not None and result.call_id == identity:
                    return result
        # Gemini has no ids.
        if position < len(self.results) and self.results[position].call_id is None:
            return self.results[position]
        return None
