"""`cmd:COMMAND`: a command line as an agent, one process a turn and no shell."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from pytest_agentcap.agents.headless import PROXY_ENVIRONMENT, found_word
from pytest_agentcap.agents.spec import AgentError, AgentSpec, CommandLines, SessionSource
from pytest_agentcap.agents.templates import unknown_placeholders

PREFIX = "cmd:"
_PROMPT = "{prompt}"


def split_line(text: str) -> list[str]:
    """Split a command line as a shell would, and do nothing else of what one does. Raises AgentError."""
    try:
        words = shlex.split(text.removeprefix(PREFIX))
    except ValueError as error:
        raise AgentError(f"{text}: {error}") from error
    if not words or _PROMPT in words[0]:
        raise AgentError(f"{text!r}: no command: give {PREFIX}COMMAND, such as '{PREFIX}claude -p {_PROMPT}'")
    return words


def read_line(text: str, here: Path) -> AgentSpec:
    """Make an agent of `cmd:COMMAND`: the prompt is put where `{prompt}` stands, or on standard input without one.

    A word with the prompt stays one argument, whatever the prompt holds. All of standard output is the reply; there is
    no session to go on with. The version is made of the SHA-256 of the words. Raises AgentError.
    """
    words = split_line(text)
    found = [found_word(word, here, first=number == 0) for number, word in enumerate(words)]
    for name in (name for word in words for name in unknown_placeholders(word)):
        raise AgentError(f"{text}: unknown placeholder {{{{{name}}}}}")
    spelled = tuple(word.replace("{{prompt}}", _PROMPT).replace(_PROMPT, "{{prompt}}") for word in found)
    as_argument = any("{{prompt}}" in word for word in spelled)
    return AgentSpec(
        name=Path(words[0]).stem,
        version=f"command-{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:8]}",
        api="chat",
        executable=found[0],
        command=CommandLines(spelled, (), "argument" if as_argument else "stdin"),
        session=SessionSource("none"),
        description="A command line",
        environment=PROXY_ENVIRONMENT,
        folder=here,
        on_host_only=True,
    )
