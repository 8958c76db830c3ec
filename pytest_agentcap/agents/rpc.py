"""The JSON-RPC session protocol that agent-eval-harness speaks with adapters, on lines of standard input and output.

`initialize`, `session/new` and `session/prompt` are requests to the adapter; while a prompt runs it sends
`session/update` notifications; `session/cancel` is a notification to it. The names of updates in the Agent Client
Protocol, which it comes from, are understood too.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_agentcap.agents.headless import PROXY_ENVIRONMENT, found_word
from pytest_agentcap.agents.spec import AgentError, AgentSpec, CommandLines, SessionSource
from pytest_agentcap.agents.steps import UNKNOWN_TOOL, Step, StepType, join_calls

PREFIX = "adapter:"
PROTOCOL_VERSION = 1
METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
_TEXTS: dict[str, StepType] = {
    "agent_message_chunk": "message",
    "agent_thought_chunk": "thought",
    "agent_plan": "plan",
    "plan": "plan",
}
_CALLS = frozenset({"agent_tool_call", "tool_call", "tool_call_update"})


def read_program(text: str, here: Path) -> AgentSpec:
    """Make an agent of `adapter:COMMAND`; words that name files below `here` are files wherever the command runs.

    Its version is made of the SHA-256 of the words and of those files. Raises AgentError.
    """
    try:
        words = shlex.split(text.removeprefix(PREFIX))
    except ValueError as error:
        raise AgentError(f"{text}: {error}") from error
    if not words:
        raise AgentError(f"{text!r}: no command: give {PREFIX}COMMAND, such as '{PREFIX}bun ./my-adapter.ts'")
    found = [found_word(word, here, first=number == 0) for number, word in enumerate(words)]
    digest = hashlib.sha256("\0".join(words).encode())
    for word, path in zip(words, found, strict=True):
        digest.update(Path(path).read_bytes() if path != word else b"")
    line = tuple(found)
    return AgentSpec(
        name=program_name(words),
        version=f"program-{digest.hexdigest()[:8]}",
        api="chat",
        executable=line[0],
        command=CommandLines(line, line, "stdin"),
        session=SessionSource("none"),
        description="An adapter that speaks JSON-RPC",
        environment=PROXY_ENVIRONMENT,
        folder=here,
        speaks_rpc=True,
        on_host_only=True,
    )


def program_name(words: Sequence[str]) -> str:
    """Name a program after the last of its words that is a path, without the ending, else after its first."""
    paths = [word for word in words if "/" in word or (Path(word).suffix and not word.startswith("-"))]
    return Path((paths or words[:1])[-1]).stem


def request(number: int, method: str, params: dict[str, Any]) -> bytes:
    return _line({"id": number, "method": method, "params": params})


def notification(method: str, params: dict[str, Any]) -> bytes:
    return _line({"method": method, "params": params})


def refusal(number: Any, method: str) -> bytes:
    """Answer a request of the adapter's: there is nobody to ask and nothing to offer."""
    return _line({"id": number, "error": {"code": METHOD_NOT_FOUND, "message": f"Method not found: {method}"}})


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def read_message(line: bytes | str) -> dict[str, Any] | None:
    """Return a line's message, None when it is none: programs print notices too."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and message.get("jsonrpc") == "2.0" else None


def read_exchange(output: str, arrivals: Sequence[float]) -> tuple[str, tuple[Step, ...]]:
    """Read what an adapter sent in one turn: the reply and the steps; `arrivals` has a time in ms for each message.

    Without a content in its answer, the reply is its messages.
    """
    messages = [message for line in output.split("\n") if (message := read_message(line)) is not None]
    times = [None] * max(0, len(messages) - len(arrivals)) + list(arrivals)
    steps: list[Step] = []
    reply = ""
    for message, at_ms in zip(messages, times, strict=False):
        reply = _content(message.get("result")) or reply
        if message.get("method") == "session/update":
            _add(steps, _step(message), at_ms)
    if not reply:
        reply = "\n".join(step.content for step in steps if step.type == "message" and step.content)
    return reply, tuple(join_calls(steps))


def _add(steps: list[Step], step: Step | None, at_ms: float | None) -> None:
    """Add a step; chunks of one text that come one after another are one step."""
    if step is None:
        return
    last = steps[-1] if steps else None
    if last is not None and step.type in ("message", "thought") and last.type == step.type:
        steps[-1] = replace(last, content=f"{last.content}{step.content}")
    else:
        steps.append(replace(step, at_ms=at_ms))


def _step(message: dict[str, Any]) -> Step | None:
    update = _object(_object(message.get("params")).get("update"))
    kind = update.get("sessionUpdate")
    if kind in _TEXTS:
        return Step(_TEXTS[kind], content=_text(update.get("content")) or _entries(update.get("entries")))
    if kind not in _CALLS:
        return None
    call = _object(update.get("toolCall")) or update
    name = call.get("name") or call.get("title")
    known = kind == "tool_call_update" and not name
    return Step(
        "tool_call",
        name=str(name) if name else None if known else UNKNOWN_TOOL,
        status=call.get("status") or (None if known else "pending"),
        call_id=call.get("toolCallId"),
        input=call.get("input", call.get("rawInput")),
        output=call.get("output", call.get("rawOutput")),
    )


def _content(result: Any) -> str:
    content = _object(result).get("content")
    blocks = content if isinstance(content, list) else []
    return "\n".join(text for block in blocks if (text := _text(block)))


def _entries(entries: Any) -> str:
    return "\n".join(_lines_of(entries)) if isinstance(entries, list) else ""


def _lines_of(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        content = _object(entry).get("content")
        if isinstance(content, str):
            yield content


def _text(block: Any) -> str:
    text = _object(block).get("text")
    return text if isinstance(text, str) else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
