"""When two messages are the same: the form in which calls of a session are compared.

Agents send a conversation back and back again, and seldom letter for letter. Left out of the comparison is what they
change without saying anything else:

- thinking, its signatures, and messages that hold nothing but it: most agents drop or shorten it;
- ids of tool calls and results, which some agents rewrite, names of messages, cache marks, phases;
- white space around texts and between adjacent ones, how a text is cut into parts, empty parts;
- the order of keys, and white space, in a tool call's arguments;
- `<system-reminder>…</system-reminder>` blocks, which come and go in the messages of users and tools.

What is left counts: roles, texts, calls by name and arguments, results, images, refusals, and the order of it all.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)


def canonical(message: Message) -> str:
    """Write what counts of a message as one JSON text; empty for a message of which nothing does."""
    atoms = list(_atoms(message.parts))
    return json.dumps([message.role, atoms], sort_keys=True, ensure_ascii=False) if atoms else ""


def _atoms(parts: Iterable[Part]) -> Iterator[object]:
    pending: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            pending.append(part.text)
        elif not isinstance(part, Thinking):
            yield from _joined(pending)
            yield _atom(part)
    yield from _joined(pending)


def _joined(pending: list[str]) -> Iterator[str]:
    text = "\n".join(piece for piece in (_REMINDER.sub("", text).strip() for text in pending) if piece)
    pending.clear()
    if text:
        yield text


def _atom(part: Part) -> object:
    match part:
        case ToolCall():
            arguments = part.parsed_arguments
            return {"call": part.name, "arguments": part.arguments.strip() if arguments is None else arguments}
        case ToolResult():
            return {"result": list(_atoms(part.parts))}
        case Image():
            return {"image": _short(part.data or part.url or "")}
        case Opaque():
            return {"part": part.kind, "is": _short(part.json)}
        case Refusal():
            return {"refusal": part.text.strip()}
        case Text() | Thinking():
            raise TypeError(f"not an atom: {part}")


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def canonical_all(messages: Iterable[Message]) -> tuple[str, ...]:
    """Write messages canonically, those of which nothing counts left out."""
    return tuple(filter(None, map(canonical, messages)))


def prefix_digests(texts: Iterable[str]) -> tuple[bytes, ...]:
    """Return the digest of each prefix of canonical texts, from the empty one to the whole."""
    digest = hashlib.blake2b(digest_size=16)
    digests = [digest.digest()]
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        digests.append(digest.digest())
    return tuple(digests)


def tools_digest(tools: Iterable[Tool]) -> str:
    """Return a short text that equal tool definitions share, in whatever order they are offered."""
    told = sorted(json.dumps([t.kind, t.name, t.description, t.parameters], sort_keys=True) for t in tools)
    return _short("\0".join(told))


@dataclass(frozen=True, slots=True)
class Delta:
    """Tell how a conversation changed: how many messages stayed from its beginning, how many went, how many came."""

    kept: int
    removed: int
    added: int

    @property
    def label(self) -> str:
        """Return `(+N)`, or `(-X +Y)` when messages went."""
        return f"(-{self.removed} +{self.added})" if self.removed else f"(+{self.added})"


def delta_of(before: Sequence[Message], after: Sequence[Message]) -> Delta:
    """Compare two conversations by their longest common beginning."""
    kept = 0
    for old, new in zip(before, after, strict=False):
        if old is not new and canonical(old) != canonical(new):
            break
        kept += 1
    return Delta(kept, len(before) - kept, len(after) - kept)
