"""Preference pairs from trials of one task: TRL's conversational preference rows with an explicit prompt.

The rule: within a run, the sessions of a task (its trials, of each the highest attempt) are split by verdict. The first
trial that `passed` is paired with the first that `failed`, the second with the second, until one side has none left:
each trial counts once. Other verdicts say nothing about the model's work and are left out. Of a session the last leaf
of its main thread is taken.

`prompt` is what both conversations share from the beginning up to where the model first spoke differently. If they
differ before the model spoke at all, they are paired only when nothing but the system prompt differs (a path or a date
in it): the prompt is then the passed trial's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pytest_agentcap.conversation.canonical import canonical_all, delta_of
from pytest_agentcap.conversation.model import Message
from pytest_agentcap.conversation.session import Conversation, Leaf, leaves_of
from pytest_agentcap.formats.chat_shape import shape_messages, shape_tools
from pytest_agentcap.formats.facts import session_facts
from pytest_agentcap.formats.lines import Line, json_line

FILE = "dpo.jsonl"
_SHARED = ("run_id", "corpus", "task_id", "agent", "agent_version", "label", "provider", "model")


def lines(conversations: Iterable[Conversation]) -> Iterator[Line]:
    """Yield one row for each pair, all in one file; trials of a task must follow each other."""
    for _, trials in groupby(conversations, key=lambda conversation: conversation.record.session[:3]):
        yield from (json_line(FILE, row) for row in rows(trials))


def rows(trials: Iterable[Conversation]) -> Iterator[dict[str, Any]]:
    """Yield the pairs of one task of one run."""
    latest: dict[int, Conversation] = {}
    for conversation in trials:
        *_, trial, attempt, _ = conversation.record.session
        if trial not in latest or latest[trial].record.session[4] <= attempt:
            latest[trial] = conversation
    by_verdict: dict[str | None, list[tuple[Conversation, Leaf]]] = {}
    for _, conversation in sorted(latest.items()):
        leaf = _last_leaf(conversation)
        if leaf:
            by_verdict.setdefault(conversation.record.text("verdict"), []).append((conversation, leaf))
    for passed, failed in zip(by_verdict.get("passed", []), by_verdict.get("failed", []), strict=False):
        row = _pair(passed[1], failed[1])
        if row:
            told = {name: session_facts(passed[0])[name] for name in _SHARED}
            ends = {"chosen_request_id": passed[1].call.rid, "rejected_request_id": failed[1].call.rid}
            names = {"chosen_session": passed[0].name, "rejected_session": failed[0].name}
            yield {**row, "tools": shape_tools(passed[1].call.request.tools), **told, **names, **ends}


def _last_leaf(conversation: Conversation) -> Leaf | None:
    leaves = list(leaves_of(conversation.main)) if conversation.main else []
    said = [leaf for leaf in leaves if any(message.role == "assistant" for message in leaf.messages)]
    return said[-1] if said else None


def _pair(passed: Leaf, failed: Leaf) -> dict[str, Any] | None:
    chosen, rejected = _to_last_answer(passed.messages), _to_last_answer(failed.messages)
    opening = _opening(chosen)
    shared = delta_of(chosen, rejected).kept
    if shared >= len(opening):
        shared = _back_to_an_answer(chosen, min(shared, len(chosen) - 1, len(rejected) - 1))
        return _row(chosen[:shared], chosen[shared:], rejected[shared:]) if shared else None
    other = _opening(rejected)
    if opening and _without_system(opening) == _without_system(other):
        return _row(opening, chosen[len(opening) :], rejected[len(other) :])
    return None


def _row(prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message]) -> dict[str, Any] | None:
    if canonical_all(chosen) == canonical_all(rejected):
        return None
    return {
        "prompt": shape_messages(prompt),
        "chosen": shape_messages(chosen),
        "rejected": shape_messages(rejected),
    }


def _to_last_answer(messages: Sequence[Message]) -> Sequence[Message]:
    last = max(at for at, message in enumerate(messages) if message.role == "assistant")
    return messages[: last + 1]


def _opening(messages: Sequence[Message]) -> Sequence[Message]:
    first = next(at for at, message in enumerate(messages) if message.role == "assistant")
    return messages[:first]


def _back_to_an_answer(messages: Sequence[Message], shared: int) -> int:
    """Shorten the shared part until an answer of the model follows it."""
    while shared and messages[shared].role != "assistant":
        shared -= 1
    return shared


def _without_system(messages: Sequence[Message]) -> tuple[str, ...]:
    return canonical_all(message for message in messages if message.role != "system")
