"""Decide what the scripted model answers: find the prompt in a request, then the step that comes next."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.upstream.exchange import Answer, Message, Request, Text, ToolCall
from pytest_agentcap.upstream.tools import choose_shell_tool, fill_arguments

_HEREDOC = re.compile(r"(?<!<)<<-?\s*(['\"]?)([A-Za-z_]\w*)\1(?!<)")
_FOLLOWUP = "Show what you have changed, and how you checked it."
# mini-swe-agent knows no other end than this command; the lines that follow the first are what it hands in.
_SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_TITLE_WORDS, _TITLE_LENGTH = 6, 50
# How the answer begins that ends a script.
FINISHED = "Done, steps run:"


@dataclass(frozen=True, slots=True)
class Script:
    """Hold what is run for one prompt; `commands` is None when its task has no reference for it.

    `key` is what of the prompt is looked for in messages.
    """

    prompt: str
    key: str
    commands: tuple[str, ...] | None
    task_key: str


@dataclass(frozen=True, slots=True)
class Position:
    """Say how far a conversation has come in a script: `results` tool results follow the script's prompt."""

    script: Script
    results: int


def scripts_of(task: Task) -> tuple[Script, ...]:
    """Return one script for each of a task's prompts."""
    return tuple(
        Script(
            prompt=prompt,
            key=_key(prompt),
            commands=split_commands(task.references[turn]) if turn < len(task.references) else None,
            task_key=f"{task.corpus}\n{task.id}",
        )
        for turn, prompt in enumerate(task.prompts)
    )


def split_commands(reference: str) -> tuple[str, ...]:
    """Split a shell script at its blank lines into commands; a blank line inside a here-document does not split."""
    commands: list[list[str]] = [[]]
    lines = reference.splitlines()
    terminator: str | None = None
    for number, line in enumerate(lines):
        if terminator is not None:
            if line.strip() == terminator:
                terminator = None
        elif not line.strip():
            commands.append([])
            continue
        elif heredoc := _HEREDOC.search(line):
            # A shift such as `$((a << b))` looks alike, but no line closes it.
            closed = any(later.strip() == heredoc[2] for later in lines[number + 1 :])
            terminator = heredoc[2] if closed else None
        commands[-1].append(line)
    return tuple("\n".join(command) for command in commands if command)


def find_position(messages: Sequence[Message], scripts: Sequence[Script]) -> Position | None:
    """Find the last user message that contains a known prompt; the longest prompt wins, then the last learned."""
    results = 0
    for message in reversed(messages):
        if message.role == "tool":
            results += 1
        if message.role != "user":
            continue
        text = _key(message.text)
        found = [script for script in scripts if script.key and script.key in text]
        if found:
            return Position(max(reversed(found), key=lambda script: len(script.key)), results)
    return None


def next_answer(request: Request, scripts: Sequence[Script]) -> Answer:
    """Answer a request from nothing but itself and the known scripts."""
    position = find_position(request.messages, scripts)
    title = _title(position.script.prompt if position else _last_user_text(request.messages))
    tool = choose_shell_tool(request.tools)
    if not request.tools and _asks_for_followup(request.messages):
        return Text(_FOLLOWUP)
    if tool is None:
        return Text(
            title if _asks_for_title(request.messages) else f"{title}: no shell tool is offered, nothing is run."
        )
    if position is None or position.script.commands is None:
        return Text(f"There is no reference for this prompt: {title}")
    commands, done = position.script.commands, f"{FINISHED} {len(position.script.commands)}. {title}"
    if _asks_to_submit(request.messages):
        commands = (*commands, f"printf '%s\\n' {_SUBMIT} {shlex.quote(done)}")
    if position.results >= len(commands):
        return Text(done)
    command = commands[position.results]
    return ToolCall(
        tool=tool,
        id=_call_id(position.script, request.messages),
        command=command,
        arguments=fill_arguments(tool, command) if tool.kind == "function" else {},
    )


def _call_id(script: Script, messages: Sequence[Message]) -> str:
    # Counted over the whole conversation: a prompt that is sent twice must not give two tool calls one id.
    step = sum(message.role == "tool" for message in messages)
    return hashlib.sha256(f"{script.task_key}\n{step}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _asks_for_title(messages: Sequence[Message]) -> bool:
    return any(
        message.role in ("system", "user") and re.search(r"\btitle\b", message.text, re.I) for message in messages
    )


def _asks_for_followup(messages: Sequence[Message]) -> bool:
    return any(message.role == "system" and "user's next message" in message.text for message in messages)


def _asks_to_submit(messages: Sequence[Message]) -> bool:
    return any(message.role in ("system", "user") and _SUBMIT in message.text for message in messages)


def _last_user_text(messages: Sequence[Message]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _title(prompt: str) -> str:
    title = " ".join(prompt.split()[:_TITLE_WORDS])[:_TITLE_LENGTH].strip()
    return title or "An empty prompt"


def _key(text: str) -> str:
    # Some agents quote the prompt of their command line and escape the quotes in it; others put a space before an `@`.
    return "".join(text.replace('\\"', '"').split())
