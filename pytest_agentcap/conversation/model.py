"""What a call says, whatever API it was made with: messages of typed parts, tools, sampling, the answer.

All of it is read from captures and says what was on the wire: a figure or text that was not there is None.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.conversation.usage import Usage

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """Hold plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """Hold a model's reasoning; `signature` and `encrypted` are what the server wants back to recognise its own."""

    text: str
    signature: str | None = None
    encrypted: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """Hold an image, either as base64 `data` of a `media_type` or by its `url`."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Hold a call of a tool that the model asked for; `arguments` is the text it wrote, JSON or not.

    `kind` is `function`, or the API's own name for a tool without a JSON schema (`custom`, `local_shell`).
    """

    id: str | None
    name: str
    arguments: str
    kind: str = "function"

    @property
    def parsed_arguments(self) -> dict[str, Any] | None:
        """Return the arguments as an object, None when the text is no JSON object."""
        try:
            value = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Hold what a tool gave back; `is_error` is None where the API cannot say."""

    call_id: str | None
    parts: tuple[Text | Image | Opaque, ...]
    is_error: bool | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        return join_text(self.parts)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Hold the text of a refusal, or the reason why the server gave no answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """Hold a part that this model has no type for, as JSON text; `kind` is its type on the wire."""

    kind: str
    json: str


Part: TypeAlias = Text | Thinking | Image | ToolCall | ToolResult | Refusal | Opaque


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one message. Every tool result is a message of its own with the role `tool`, in all APIs."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return join_text(self.parts)

    @property
    def thinking(self) -> str:
        return "\n".join(part.text for part in self.parts if isinstance(part, Thinking) and part.text)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolResult))


def join_text(parts: Iterable[Part]) -> str:
    """Join the text parts by newlines; refusals are text that somebody reads, too."""
    return "\n".join(part.text for part in parts if isinstance(part, Text | Refusal) and part.text)


@dataclass(frozen=True, slots=True)
class Tool:
    """Hold a tool as it was offered; `parameters` is its JSON schema, None for tools that have none."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    kind: str = "function"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Hold how the answer was to be sampled; None is "the server's default"."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    choices: int | None = None
    reasoning_effort: str | None = None
    tool_choice: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Hold what was asked; system prompts are the first messages, wherever the API puts them.

    `previous_response` is the id of an answer whose conversation the server is to go on with.
    """

    model: str | None
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    sampling: Sampling = Sampling()
    stream: bool = False
    previous_response: str | None = None

    @property
    def system(self) -> str:
        """Return the system prompt: all system messages before the first other one."""
        leading: list[str] = []
        for message in self.messages:
            if message.role != "system":
                break
            leading.append(message.text)
        return "\n\n".join(leading)


@dataclass(frozen=True, slots=True)
class CallError:
    """Tell how a call failed: an error answer, an error within a stream, or the transport."""

    source: Literal["http", "stream", "transport"]
    message: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what came back; `message` is None when nothing of it did.

    `finish_reason` is the API's own word. `ended` is False when the answer has no end: cut off, or an error.
    `alternatives` are the other choices of a request for several.
    """

    message: Message | None
    finish_reason: str | None = None
    ended: bool = True
    model: str | None = None
    id: str | None = None
    error: CallError | None = None
    alternatives: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """Hold one model request and its answer; `answer` is None when there is no response.

    `opaque` calls (embeddings, token counts, unreadable bodies) have no messages and belong to no thread.
    Times are epoch nanoseconds on the proxy's clock.
    """

    record: CallRecord = field(repr=False)
    request: Request
    answer: Answer | None
    usage: Usage
    opaque: bool = False

    @property
    def rid(self) -> str:
        return self.record.rid

    @property
    def api(self) -> str:
        return self.record.api

    @property
    def model(self) -> str | None:
        """Name the model that was asked for."""
        return self.request.model or self.record.text("model")

    @property
    def turn(self) -> int | None:
        return self.record.integer("turn")

    @property
    def status_code(self) -> int | None:
        return self.record.integer("status_code")

    @property
    def started_at_ns(self) -> int | None:
        return self.record.started_at_ns

    @property
    def first_byte_at_ns(self) -> int | None:
        return self._after_start("first_byte_ms")

    @property
    def ended_at_ns(self) -> int | None:
        return self._after_start("duration_ms")

    @property
    def said(self) -> Message | None:
        """Return the answer's message, if there is one."""
        return self.answer.message if self.answer else None

    @property
    def failed(self) -> bool:
        """Tell whether the call brought no whole answer."""
        return self.answer is None or self.answer.error is not None or not self.answer.ended

    @property
    def conversation(self) -> tuple[Message, ...]:
        """Return all messages up to this call's answer, included."""
        return (*self.request.messages, self.said) if self.said else self.request.messages

    def _after_start(self, name: str) -> int | None:
        offset = self.record.number(name)
        start = self.started_at_ns
        return None if offset is None or start is None else start + round(offset * 1e6)


def texts(messages: Iterable[Message], role: Role) -> Iterator[str]:
    """Yield the texts of the messages of a role."""
    return (message.text for message in messages if message.role == role)
