"""What the modules of the wire APIs share: how a stream is told once it is merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.conversation.model import Answer, Request
from pytest_agentcap.conversation.sse import Event
from pytest_agentcap.conversation.values import Document, parse


@dataclass(frozen=True, slots=True)
class Merged:
    """Hold the body that a stream stands for, as the API would have sent it in one piece.

    `ended` tells whether the stream said that it was at its end; `error` is the event that said why it was not.
    """

    body: Document
    ended: bool
    error: Document | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """Hold what reads one wire API: its stream to a body, its request, its answer."""

    merge: Callable[[Iterable[Event]], Merged]
    read_request: Callable[[Document], Request]
    read_answer: Callable[[Document], Answer]


def documents(events: Iterable[Event]) -> Iterator[Document]:
    """Yield the JSON objects of the events; `[DONE]` and what a cut left over are no objects."""
    for event in events:
        value = parse(event.data)
        if isinstance(value, dict):
            yield value


def append_text(holder: dict[str, Any], key: str, piece: Any) -> None:
    """Add a piece of text to what stands under a key."""
    if isinstance(piece, str):
        holder[key] = (holder.get(key) or "") + piece
