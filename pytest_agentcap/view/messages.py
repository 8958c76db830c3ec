"""Messages and tools of a session as the page reads them: each told once, long texts by where the pool holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_agentcap.conversation.canonical import canonical
from pytest_agentcap.conversation.model import (
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from pytest_agentcap.view.pool import Pool, Slices

_SHORT = 100

Told = dict[str, Any]


@dataclass(slots=True)
class MessageTable:
    """Number the messages of a session; equal ones have the same number."""

    pool: Pool
    told: list[Told] = field(default_factory=list)
    _by_identity: dict[int, tuple[int, Message]] = field(default_factory=dict)
    _by_value: dict[Message, int] = field(default_factory=dict)

    def number(self, message: Message) -> int:
        """Return a message's number, from 0 on."""
        # Calls of a session share most messages as objects: comparing whole texts again would take the most time.
        known = self._by_identity.get(id(message))
        if known is not None:
            return known[0]
        number = self._by_value.get(message)
        if number is None:
            number = self._by_value[message] = len(self.told)
            parts = [tell_part(part, self.pool) for part in message.parts]
            self.told.append({"role": message.role, "parts": parts, "key": _key(message)})
        self._by_identity[id(message)] = number, message
        return number

    def runs(self, messages: Iterable[Message]) -> list[int]:
        """Tell a list of messages as `[first number, count, …]`: a conversation mostly counts up."""
        runs: list[int] = []
        for number in map(self.number, messages):
            if runs and runs[-2] + runs[-1] == number:
                runs[-1] += 1
            else:
                runs += (number, 1)
        return runs


@dataclass(slots=True)
class ToolTable:
    """Number the sets of tools that the requests of a session offer."""

    pool: Pool
    told: list[list[Told]] = field(default_factory=list)
    _last: tuple[tuple[Tool, ...], int] = ((), 0)
    _known: dict[str, int] = field(default_factory=dict)

    def number(self, tools: tuple[Tool, ...]) -> int | None:
        """Return the number of a set of tools, None for an empty one."""
        if not tools:
            return None
        if tools != self._last[0]:
            written = json.dumps([[t.kind, t.name, t.description, t.parameters] for t in tools])
            if written not in self._known:
                self._known[written] = len(self.told)
                self.told.append([self._tell(tool) for tool in tools])
            self._last = tools, self._known[written]
        return self._last[1]

    def _tell(self, tool: Tool) -> Told:
        schema = None if tool.parameters is None else json.dumps(tool.parameters, ensure_ascii=False)
        return {
            "name": tool.name,
            "kind": tool.kind,
            "description": tell_text(tool.description, self.pool),
            "parameters": tell_text(schema, self.pool),
        }


def tell_text(text: str | None, pool: Pool) -> str | Slices | None:
    """Return a short text as it is, a long one by where the pool holds it, written as a JSON string's inside."""
    return text if text is None or len(text) < _SHORT else pool.add_string(text)


def tell_part(part: Part, pool: Pool) -> Told:
    """Return a part as a plain object, whose `type` names its class."""
    match part:
        case Text():
            return {"type": "text", "text": tell_text(part.text, pool)}
        case Refusal():
            return {"type": "refusal", "text": tell_text(part.text, pool)}
        case Thinking():
            return {"type": "thinking", "text": tell_text(part.text, pool), "encrypted": part.encrypted is not None}
        case Image():
            data, url = tell_text(part.data, pool), tell_text(part.url, pool)
            return {"type": "image", "media_type": part.media_type, "data": data, "url": url}
        case ToolCall():
            arguments = tell_text(part.arguments, pool)
            return {"type": "call", "id": part.id, "name": part.name, "kind": part.kind, "arguments": arguments}
        case ToolResult():
            parts = [tell_part(inner, pool) for inner in part.parts]
            return {"type": "result", "id": part.call_id, "name": part.name, "error": part.is_error, "parts": parts}
        case Opaque():
            return {"type": "opaque", "kind": part.kind, "json": tell_text(part.json, pool)}


def _key(message: Message) -> str:
    """Return a short text that messages share which say the same; empty for one that says nothing."""
    text = canonical(message).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=6).hexdigest() if text else ""


def tell_sampling(values: Mapping[str, Any]) -> Told:
    """Return what a request says of sampling, the server's defaults left out."""
    return {name: value for name, value in values.items() if value not in (None, ())}
