"""How long a prompt may be that travels as an argument."""

from __future__ import annotations

from pytest_agentcap.agents.spec import AgentSpec

# Linux: MAX_ARG_STRLEN, 32 pages of 4 KiB for one argument and its final NUL; see execve(2).
MAX_ARGUMENT_BYTES = 128 << 10

_PROMPT = "{{prompt}}"


def longest_prompt(agent: AgentSpec) -> int | None:
    """Return how many bytes of UTF-8 a prompt may have for this agent; None where it is no part of an argument."""
    words = [word for word in (*agent.command.first, *agent.command.next) if _PROMPT in word]
    return min((_room(word) for word in words), default=None)


def _room(word: str) -> int:
    times = word.count(_PROMPT)
    return (MAX_ARGUMENT_BYTES - 1 - len(word.replace(_PROMPT, "").encode())) // times
