"""What a session's time went to: the model, its tools, or neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.session import Conversation

Span = dict[str, Any]


def spans_of(conversation: Conversation, numbers: Mapping[int, int]) -> list[Span]:
    """Return when the model answered and when tools ran, in epoch nanoseconds; `numbers` has calls' by `id`.

    Tools ran between an answer with tool calls and the request that told their results: the proxy sees no nearer.
    What has no known beginning or end has no span.
    """
    spans = [*_model(conversation.calls, numbers), *_tools(conversation, numbers)]
    return sorted(spans, key=lambda span: (span["start"], span["end"]))


def _model(calls: Iterable[Call], numbers: Mapping[int, int]) -> Iterator[Span]:
    for call in calls:
        start, end = call.started_at_ns, call.ended_at_ns
        if start is not None and end is not None:
            first = call.first_byte_at_ns
            yield {"kind": "model", "start": start, "first": first, "end": end, "call": numbers[id(call)]}


def _tools(conversation: Conversation, numbers: Mapping[int, int]) -> Iterator[Span]:
    together: dict[tuple[int, int, int], list[str]] = {}
    for use in conversation.tool_uses:
        start, end = use.started_at_ns, use.ended_at_ns
        if start is not None and end is not None and start <= end:
            together.setdefault((start, end, numbers[id(use.asked_by)]), []).append(use.call.name)
    for (start, end, call), names in together.items():
        yield {"kind": "tool", "start": start, "end": end, "call": call, "names": names}
