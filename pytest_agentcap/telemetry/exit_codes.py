"""Exit codes as agents write them into the results of their shell tools."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_agentcap.conversation.values import Document, as_integer, parse

# "exit code: 1" (loop), "Exit code 1" (claude), "exited with code 1" (pi, codex), "Exit Code: 1" (gemini, qwen),
# "exit_code: 1" (AgentTrace), "<returncode>1</returncode>" (mini), {"exit_code": 1} (hermes).
_TOLD = re.compile(
    r"""(?:exit(?:ed)?[ _-]?(?:status|code)|exited\ with(?:\ (?:code|status))?|return[ _-]?code)
        ["']?\s*(?:[:=>]|is|of)?\s*\(?(-?\d{1,5})\b""",
    re.IGNORECASE | re.VERBOSE,
)
_KEYS = ("exit_code", "exitCode", "returncode", "return_code")
_LINES = 4


def exit_code_in(text: str) -> int | None:
    """Read the exit code that an agent put into a tool's result, None when there is none.

    It is looked for in the first and the last four lines that say little else, and under its key in a result that is a
    JSON object: between them is the tool's own output, in which such words mean nothing.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if isinstance(document := parse(text) if text.lstrip().startswith("{") else None, dict):
        return next((code for each in (document, *_objects_in(document)) if (code := _code_of(each)) is not None), None)
    outer = [*lines[:_LINES], *lines[_LINES:][-_LINES:]]
    starts = (found for line in outer if (found := _TOLD.search(line)) and _stands_alone(line, found))
    return next((int(found[1]) for found in starts), None)


def _objects_in(document: Document) -> Iterable[Document]:
    return (value for value in document.values() if isinstance(value, dict))


def _code_of(document: Document) -> int | None:
    return next((code for key in _KEYS if (code := as_integer(document.get(key))) is not None), None)


def _stands_alone(line: str, found: re.Match[str]) -> bool:
    """Tell whether a line says little else: `Command exited with code 1`, `<returncode>1</returncode>`."""
    around = line[: found.start()] + line[found.end() :]
    return len(re.findall(r"\w+", around)) <= _LINES
