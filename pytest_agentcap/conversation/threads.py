"""A session's calls grouped into threads: the main conversation, sub-agents, side questions, compactions, retries.

Nothing in a request says to which conversation it belongs. Each call, in the order in which they were made, is put
after an earlier one by the first of these that holds, messages being compared in their canonical form:

1. `retries`: its messages and tools are those of an earlier call.
2. `continues`: it begins with all messages of an earlier call, and goes on with what the model answered; the longest
   such call wins, and of equals the one whose answer it repeats. An answer that it tells otherwise, because the agent
   edited or shortened it, is accepted. So is none at all, if the earlier call failed.
3. `compacts`: one of its first four user messages holds the text (40 characters at least) that an earlier call of
   the session answered, and before that call there was one with its system prompt and its tools.
4. `rewrites`: it has the system prompt, the tools and the first user message of an earlier call; the last wins. This
   goes before rule 2 for a call that holds the answer of that last call, but does not continue it: an older part of
   the conversation was edited in between.

A call for which none holds starts a thread. What kind of thread that is, is said by what is beside it: the first with
tools is `main` (the first at all, when no call of the session has tools), and so is every other with tools that begins
while no tool call waits. One whose first user message stands in the arguments of an earlier tool call, or that begins
while a tool call waits for its result, is a `subagent` of that call's thread. What has no tools, in a session that has
some, is a `side` question (a title, a summary, a check), or the `compaction` that a call of rule 3 took up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_agentcap.conversation.canonical import Delta, canonical, delta_of, prefix_digests, tools_digest
from pytest_agentcap.conversation.model import Call, Message, Tool, texts

Relation: TypeAlias = Literal["starts", "continues", "retries", "compacts", "rewrites"]
Kind: TypeAlias = Literal["main", "subagent", "side", "compaction"]

_SUMMARY_CHARS = 40
_PROMPT_CHARS = 16
_OPENING = 4


@dataclass(frozen=True, slots=True)
class Step:
    """Hold a call in its thread; `delta` tells its request's messages against its predecessor's."""

    call: Call
    relation: Relation
    previous: Call | None
    delta: Delta

    @property
    def label(self) -> str:
        """Return `(init N)`, `(+N)` or `(-X +Y)`."""
        return self.delta.label if self.previous else f"(init {self.delta.added})"


@dataclass(frozen=True, slots=True)
class Thread:
    """Hold one conversation of a session; `parent` is the call whose tool call, or whose summary, it serves."""

    index: int
    kind: Kind
    steps: tuple[Step, ...]
    parent: Call | None = None

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(step.call for step in self.steps)


@dataclass(slots=True, eq=False)
class _Node:
    """A call with what it is compared by, computed once; `kept` are the messages of which something counts."""

    call: Call
    kept: tuple[Message, ...]
    texts: tuple[str, ...]
    digests: tuple[bytes, ...]
    agent: str
    opening: bytes
    prompt: str
    said: str | None
    step: Step
    thread: int = 0
    served: _Node | None = None
    compaction: bool = False


@dataclass(slots=True)
class Grouping:
    """Put the calls of one session after one another as they come, in the order in which they were made."""

    nodes: list[_Node] = field(default_factory=list)
    by_request: dict[bytes, list[_Node]] = field(default_factory=dict)
    canonical: dict[int, str] = field(default_factory=dict)
    threads: int = 0
    offered: tuple[tuple[Tool, ...], str] = ((), tools_digest(()))

    def add(self, call: Call) -> Step:
        """Return the call's place; opaque calls have none and must not be given."""
        node = self._node(call)
        relation, previous = self._place(node)
        if previous:
            delta = delta_of(previous.call.request.messages, call.request.messages)
            node.step, node.thread = Step(call, relation, previous.call, delta), previous.thread
        else:
            node.thread, self.threads = self.threads, self.threads + 1
            node.served = self._asked_by(node)
        self.nodes.append(node)
        self.by_request.setdefault(node.digests[-1], []).append(node)
        return node.step

    def _place(self, node: _Node) -> tuple[Relation, _Node | None]:
        for earlier in reversed(self.by_request.get(node.digests[-1], [])):
            if earlier.agent == node.agent:
                return "retries", earlier
        continued = self._continued(node)
        if continued and not self._edited(node, continued):
            return "continues", continued
        compacted = self._compacted(node)
        if compacted:
            return "compacts", compacted
        before = self._same_opening(node)
        return ("rewrites", before) if before else ("starts", None)

    def _same_opening(self, node: _Node) -> _Node | None:
        alike = (n for n in reversed(self.nodes) if n.opening == node.opening and n.agent == node.agent and node.prompt)
        return next(alike, None)

    def _edited(self, node: _Node, continued: _Node) -> bool:
        """Tell whether a call goes on from the last one of its conversation, with an older part of it edited."""
        last = self._same_opening(node)
        if last is None or last is continued or last.said is None:
            return False
        return last.said in node.texts[len(continued.texts) + 1 :]

    def _continued(self, node: _Node) -> _Node | None:
        for length in range(len(node.kept) - 1, 0, -1):
            found = [
                earlier
                for earlier in self.by_request.get(node.digests[length], [])
                if node.kept[length].role == "assistant" or earlier.said is None
            ]
            if found:
                return max(reversed(found), key=lambda earlier: earlier.said == node.texts[length])
        return None

    def _compacted(self, node: _Node) -> _Node | None:
        if not node.call.request.tools and any(earlier.call.request.tools for earlier in self.nodes):
            # A title is asked for with what the model had said, too.
            return None
        opening = "\n".join(list(texts(node.call.request.messages, "user"))[:_OPENING])
        for at in range(len(self.nodes) - 1, 0, -1):
            summary = self.nodes[at]
            text = summary.call.said.text.strip() if summary.call.said else ""
            if len(text) >= _SUMMARY_CHARS and text in opening:
                # What the summary stands for is the conversation that the same agent had before it.
                for earlier in reversed(self.nodes[:at]):
                    if earlier.agent == node.agent:
                        summary.compaction = True
                        return earlier
        return None

    def _asked_by(self, node: _Node) -> _Node | None:
        """Return the call whose tool call started this thread."""
        waiting = None
        for earlier in reversed(self.nodes):
            calls = earlier.call.said.tool_calls if earlier.call.said else ()
            if node.prompt and any(_hands_on(call.parsed_arguments, node.prompt) for call in calls):
                return earlier
            if calls and waiting is None and self._waits(earlier, node):
                waiting = earlier
        return waiting

    def _waits(self, earlier: _Node, node: _Node) -> bool:
        """Tell whether a call's tool calls had no results yet when another call was made, in the same turn.

        Of calls that know neither turn nor place nobody can tell: agentcap's first files have whole seconds alone.
        """
        facts = node.call.record
        known = facts.integer("turn") is not None or facts.integer("call_index") is not None
        same_turn = known and earlier.call.turn == node.call.turn
        return same_turn and not any(later.step.previous is earlier.call for later in self.nodes)

    def _node(self, call: Call) -> _Node:
        messages = call.request.messages
        told = [(message, text) for message in messages if (text := self._canonical(message))]
        kept, written = tuple(message for message, _ in told), tuple(text for _, text in told)
        system = [self._canonical(message) for message in messages if message.role == "system"]
        first = next((message for message in messages if message.role == "user"), None)
        opening = prefix_digests([*system, *([self._canonical(first)] if first else [])])[-1]
        return _Node(
            call,
            kept,
            written,
            prefix_digests(written),
            prefix_digests([*system, self._tools_digest(call.request.tools)])[-1].hex(),
            opening,
            prompt=first.text.strip() if first else "",
            said=self._canonical(call.said) if call.said and not call.failed else None,
            step=Step(call, "starts", None, Delta(0, 0, len(messages))),
        )

    def _tools_digest(self, tools: tuple[Tool, ...]) -> str:
        """Digest tools once while they stay the same, which most agents' do."""
        if tools != self.offered[0]:
            self.offered = tools, tools_digest(tools)
        return self.offered[1]

    def _canonical(self, message: Message) -> str:
        """Write a message canonically once; equal messages of a session's calls are one object."""
        text = self.canonical.get(id(message))
        if text is None:
            text = self.canonical[id(message)] = canonical(message)
        return text


def _hands_on(value: object, prompt: str) -> bool:
    """Tell whether a prompt stands in a tool call's arguments, or a long enough text of them in the prompt."""
    if isinstance(value, str):
        text = value.strip()
        return len(text) >= _PROMPT_CHARS and (text in prompt or prompt in text)
    if isinstance(value, dict):
        return any(_hands_on(item, prompt) for item in value.values())
    return isinstance(value, list) and any(_hands_on(item, prompt) for item in value)


def group_threads(calls: Iterable[Call]) -> tuple[Thread, ...]:
    """Group the calls of one session, in the order in which they were made; opaque ones belong to no thread.

    Threads come in the order in which they began, their steps likewise.
    """
    grouping = Grouping()
    for call in calls:
        if not call.opaque:
            grouping.add(call)
    nodes: list[list[_Node]] = [[] for _ in range(grouping.threads)]
    for node in grouping.nodes:
        nodes[node.thread].append(node)
    return tuple(_threads(nodes))


def _threads(grouped: Sequence[Sequence[_Node]]) -> Iterator[Thread]:
    any_tools = any(node.call.request.tools for nodes in grouped for node in nodes)
    main_seen = False
    for index, nodes in enumerate(grouped):
        kind = _kind(nodes, any_tools, main_seen)
        main_seen = main_seen or kind == "main"
        parent = nodes[0].served.call if nodes[0].served and kind == "subagent" else None
        yield Thread(index, kind, tuple(node.step for node in nodes), parent)


def _kind(nodes: Sequence[_Node], any_tools: bool, main_seen: bool) -> Kind:
    if any(node.call.request.tools for node in nodes) or not any_tools:
        return "subagent" if nodes[0].served and main_seen else "main"
    return "compaction" if any(node.compaction for node in nodes) else "side"
