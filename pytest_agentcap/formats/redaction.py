"""Paths of a host and lines that leaked, replaced in conversations that are exported. Nothing is left out."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.model import (
    Call,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.values import encode, parse

PATH = "<redacted path>"
LINE = "<redacted line>"
# Where the host sandbox puts the home and the workspace of each session.
_SESSION_FOLDER = re.compile(r"/tmp/agentcap-\d+/[\w.-]+/\w+(?![\w.-]*\w)")


@dataclass(slots=True)
class Redaction:
    """Replace paths, each by its own text, and lines that match a pattern; count what was replaced.

    A message that many calls repeat counts once a session. `paths` are the longest first.
    """

    paths: Sequence[tuple[re.Pattern[str], str]]
    lines: Sequence[re.Pattern[str]]
    replaced_paths: int = 0
    replaced_lines: int = 0
    sessions: int = 0
    _known: dict[Message, Message] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[str], lines: Iterable[str], *, sessions: bool = False) -> Redaction:
        """Read options: `PATH` or `PATH=TEXT`, and regular expressions; raises ValueError for what is none.

        With `sessions`, the temporary folders of sessions on this machine are replaced as well.
        """
        pairs = [(path.rstrip("/"), text) for path, _, text in (each.partition("=") for each in paths)]
        for path, _ in pairs:
            if not path.startswith("/"):
                raise ValueError(f"--redact-path {path}: not an absolute path")
        found = [
            (re.compile(rf"{re.escape(path)}(?![\w.-]*\w)"), text or PATH)
            for path, text in sorted(pairs, key=lambda pair: -len(pair[0]))
        ]
        return cls([*found, *([(_SESSION_FOLDER, PATH)] if sessions else [])], [_pattern(each) for each in lines])

    @property
    def report(self) -> str:
        return f"redacted {self.replaced_paths} paths and {self.replaced_lines} lines in {self.sessions} sessions"

    def apply(self, conversations: Iterable[Conversation]) -> Iterator[Conversation]:
        """Yield conversations with what was to be replaced replaced in all that was said, and in tool definitions."""
        for conversation in conversations:
            self._known.clear()
            before = self.replaced_paths + self.replaced_lines
            calls = tuple(self._call(call) for call in conversation.calls)
            self.sessions += self.replaced_paths + self.replaced_lines > before
            yield Conversation(calls)

    def text(self, text: str) -> str:
        """Replace in a text and count."""
        if self.lines:
            text = "\n".join(self._line(line) for line in text.split("\n"))
        for pattern, instead in self.paths:
            text, found = pattern.subn(lambda _, instead=instead: instead, text)  # type: ignore[misc]
            self.replaced_paths += found
        return text

    def _line(self, line: str) -> str:
        hit = any(pattern.search(line) for pattern in self.lines)
        self.replaced_lines += hit
        return LINE if hit else line

    def _call(self, call: Call) -> Call:
        tools = tuple(
            replace(
                tool,
                description=None if tool.description is None else self.text(tool.description),
                parameters=None if tool.parameters is None else self._value(tool.parameters),
            )
            for tool in call.request.tools
        )
        request = replace(call.request, messages=tuple(map(self._message, call.request.messages)), tools=tools)
        answer = call.answer
        if answer is not None:
            message = answer.message and self._message(answer.message)
            error = answer.error and replace(answer.error, message=self.text(answer.error.message))
            others = tuple(map(self._message, answer.alternatives))
            answer = replace(answer, message=message, error=error, alternatives=others)
        return replace(call, request=request, answer=answer)

    def _message(self, message: Message) -> Message:
        if message not in self._known:
            self._known[message] = replace(message, parts=tuple(map(self._part, message.parts)))
        return self._known[message]

    def _part(self, part: Part) -> Any:
        match part:
            case Text() | Thinking() | Refusal():
                return replace(part, text=self.text(part.text))
            case ToolCall():
                return replace(part, arguments=self._json(part.arguments))
            case ToolResult():
                return replace(part, parts=tuple(map(self._part, part.parts)))
            case Opaque():
                return replace(part, json=self._json(part.json))
            case _:
                return part

    def _json(self, text: str) -> str:
        """Replace within the strings of a JSON text; one without a hit stays as it is spelled."""
        value = parse(text)
        if not isinstance(value, dict | list):
            return self.text(text)
        changed = self._value(value)
        return text if changed == value else encode(changed)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._value(each) for each in value]
        if isinstance(value, dict):
            return self._object(value)
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for name, each in value.items():
            told = self.text(name)
            # Two names that became one must not cost a value.
            while told in changed:
                told += "'"
            changed[told] = self._value(each)
        return changed


def host_paths() -> list[str]:
    """Name what of this machine stands in transcripts of the host sandbox: the home and the current directory."""
    return [str(path) for path in dict.fromkeys((Path.home(), Path.cwd())) if path != Path("/")]


def host_lines() -> list[str]:
    """Name the lines that tell this machine's name."""
    name = socket.gethostname()
    return [rf"\b{re.escape(name)}\b"] if name and name != "localhost" else []


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"--redact-line {text}: not a regular expression: {error}") from error
