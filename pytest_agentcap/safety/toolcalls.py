"""What the tool calls of a session ask for: shell commands, programs, files; read from their names and arguments."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_agentcap.safety.audit import Audit

if TYPE_CHECKING:
    from pytest_agentcap.conversation.model import ToolCall
    from pytest_agentcap.conversation.session import ToolUse

_COMMANDS = ("command", "cmd", "script", "commands", "bash", "shell")
_CODE = ("code", "source")
_FOLDERS = ("cwd", "workdir", "working_directory", "working_dir", "dir_path", "directory")
_PATHS = (
    *("path", "file_path", "filepath", "filename", "file", "absolute_path", "target_file", "notebook_path"),
    *("relative_path", "dir_path", "directory", "dir", "folder", "destination", "new_path", "uri"),
)
_CONTENTS = ("content", "contents", "file_text", "text", "new_string", "new_str", "newstring", "edits", "new_source")
_WRITING = re.compile(r"write|edit|create|patch|replace|insert|save|delete|remove|move|rename|append|mkdir", re.I)
_PATCHED = re.compile(r"^\*\*\* (?:Add File|Update File|Delete File|Move to): (.+)$", re.MULTILINE)
_PYTHON = re.compile(r"python|jupyter|notebook", re.I)
_SHELL = re.compile(r" (?:ba|z)?sh$| shell$", re.I)
_RUNS = re.compile(r"execute|run|interpret", re.I)
_SEARCH = re.compile(r"web_?search|google_search", re.I)
_NETWORK = re.compile(r"web_?(?:search|fetch)|fetch|browse|http|url", re.I)


@dataclass(frozen=True, slots=True)
class Commands:
    """Count tool calls, and those that neither failed nor broke the policy, by the rid of who asked for them."""

    used: int
    ok_of: Mapping[str, int]

    def ok(self, hidden: Iterable[str | None] = ()) -> int:
        """Return how many are ok; `hidden` are the answers of which a call did what its text did not tell."""
        return sum(self.ok_of.values()) - len(self.ok_of.keys() & set(hidden))


def audit_tools(uses: Iterable[ToolUse], audit: Audit, folder: str) -> Commands:
    """Look through all tool calls of a session, in their order; `folder` is where the agent works."""
    used, ok = 0, Counter[str]()
    for use in uses:
        before = len(audit.events)
        audit.begin(use.asked_by.rid)
        audit_tool(use.call, audit, folder)
        failed = use.result is not None and use.result.is_error is True
        used += 1
        ok.update([use.asked_by.rid] if not failed and len(audit.events) == before else [])
    return Commands(used, ok)


def audit_tool(call: ToolCall, audit: Audit, folder: str) -> None:
    """Look through one tool call."""
    given = _lowered(call.parsed_arguments)
    text = given.get("input") if isinstance(given.get("input"), str) else call.arguments
    if _PATCHED.search(str(text)):
        for path in _PATCHED.findall(str(text)):
            audit.writes(path.strip(), folder)
        return
    if call.kind not in ("function", "local_shell", "shell"):
        if not _PYTHON.search(call.name):
            audit.shell(call.arguments, folder)
        return
    cwd = _cwd(given, audit, folder)
    for key in _COMMANDS:
        for command in _scripts(given.get(key)):
            audit.shell(command, cwd)
    for key in _CODE:
        if isinstance(code := given.get(key), str):
            _code(code, f"{call.name} {given.get('language') or ''}", audit, cwd)
    if not any(key in given for key in _COMMANDS):
        _files(call.name, given, audit, cwd)


def _code(code: str, told: str, audit: Audit, cwd: str) -> None:
    """Look through a program; `told` says its language, which is Python where a tool that runs code names none."""
    if _SHELL.search(told):
        audit.shell(code, cwd)
    elif _PYTHON.search(told) or (_RUNS.search(told) and not told.split(" ", 1)[1]):
        audit.python(code, cwd)


def _files(name: str, given: Mapping[str, Any], audit: Audit, cwd: str) -> None:
    content = next((given[key] for key in _CONTENTS if key in given), None)
    writes = content is not None or _WRITING.search(name) is not None
    for key in _PATHS:
        path = given.get(key)
        if isinstance(path, str) and path and "://" not in path.replace("file://", "", 1):
            if writes:
                audit.writes(path, cwd, content if isinstance(content, str) else None)
            else:
                audit.reads(path, cwd)
    url = given.get("url")
    if audit.offline and _SEARCH.search(name):
        audit.tell("network_attempt", name)
    if audit.offline and isinstance(url, str) and url.startswith(("http://", "https://")) and _NETWORK.search(name):
        audit.tell("network_attempt", name)


def _cwd(given: Mapping[str, Any], audit: Audit, folder: str) -> str:
    for key in _FOLDERS:
        if isinstance(path := given.get(key), str) and path and any(command in given for command in _COMMANDS):
            audit.reads(path, folder)
            return audit.places.resolve(path, folder)
    return folder


def _scripts(value: object) -> list[str]:
    """Return the shell scripts in an argument: a text, a list of words, or a list of texts."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return []
    return [shlex.join(value)] if value and " " not in value[0] else value


def _lowered(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return arguments with their names in one spelling: `filePath` is `file_path`.

    The action of a tool that the API knows by itself is inside of one more object.
    """
    given = dict(arguments or {})
    if isinstance(given.get("action"), dict):
        given |= given["action"]
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower(): value for key, value in given.items()}
