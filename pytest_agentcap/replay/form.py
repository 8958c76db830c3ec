"""When two requests are the same: the form in which an agent's request is looked for in a recording.

Agents never send the same bytes twice. What they change without asking for anything else does not count:

- ids: values of `id`, `call_id` and their like count by the order in which they appear, not by their letters; UUIDs
  in texts, and the keys by which a request names its user, session or cache, do not count at all;
- cache marks: `cache_control`, `cachePoint`, `prompt_cache_key`;
- timestamps in texts: a date with a time of day, or a time with seconds;
- dates in system prompts and tool descriptions, and elsewhere those that are called a date;
- paths of the working directory and the home: those that sandboxes of this project have, and the one that the request
  itself calls its working directory;
- the order of keys, white space of the JSON, and how it spells letters; also in a tool call's arguments.

What is left counts: path and query, model, messages, tools, sampling, in their order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlencode

_IDS = frozenset({"id", "call_id", "tool_call_id", "tool_use_id", "item_id", "previous_response_id"})
_MARKS = frozenset({"cache_control", "cachePoint", "cache_point"})
_OF_THE_REQUEST = frozenset(
    {
        *("prompt_cache_key", "prompt_cache_retention", "metadata", "client_metadata"),
        *("user", "safety_identifier", "session_id", "conversation_id"),
    }
)
# Below these, keys are a tool's own: `id` may be one of its arguments, and counts.
_OWN = frozenset({"parameters", "input_schema", "parametersJsonSchema", "schema", "args", "arguments", "response"})
_CONVERSATION = frozenset({"messages", "input", "contents", "prompt"})
_AGENTS_OWN_ROLES = frozenset({"system", "developer"})
_INSTRUCTIONS = frozenset({"system", "instructions", "systemInstruction", "system_instruction", "tools"})

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_DAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +)?"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AP]M)?"
_ZONE = r"(?: ?(?:Z\b|UTC|GMT|[A-Z]{3,4}\b|[+-]\d{2}:?\d{2}\b))?"
_TIME = re.compile(
    rf"\b\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}{_ZONE}"
    rf"|\b{_DAY}(?:{_MONTH} +\d{{1,2}}|\d{{1,2}} +{_MONTH}),?(?: +\d{{4}})?,? +{_CLOCK}{_ZONE}(?: +\d{{4}}\b)?"
    r"|\b\d{2}:\d{2}:\d{2}(?:[.,]\d+)?\b"
)
_A_DATE = (
    rf"{_DAY}(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,4}}/\d{{1,2}}/\d{{1,4}}"
    rf"|{_MONTH} +\d{{1,2}}(?:st|nd|rd|th)?,? +\d{{4}}|\d{{1,2}} +{_MONTH},? +\d{{4}}|{_MONTH} +\d{{4}})\b"
)
_DATE = re.compile(rf"\b{_A_DATE}")
_CALLED_DATE = re.compile(rf"((?<![A-Za-z])[Dd]ate(?: +is)?\W{{0,5}}){_A_DATE}")
_VERSION = re.compile(r"^/v1/")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_HOST_SANDBOX = re.compile(r"(?:/[\w.+-]+)*/agentcap-\d+/\d+-\d+-\d+/tmp\w+")
_HOST_HOME = re.compile(rf"{_HOST_SANDBOX.pattern}/home(?![\w-])")
# In the JSON text, where line ends and quotes are escaped.
_CALLED_DIRECTORY = re.compile(
    r"(?:[Ww]orking directory|in the directory|<cwd>)(?: is)?(?:\\n|\\\"|[:\s`'*]){0,6}(/[^\s`'\"<>,;)*\\]+)"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """Say what else does not count, beside what never does: keys of the request's body, and parts of its texts.

    `patterns` are regular expressions over texts in which the rest has been left out already; `instructions` tells
    whether what an agent's maker says counts: system prompts, and the tools that it offers.
    """

    patterns: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    instructions: bool = True

    def ignoring(self, *patterns: str) -> Rules:
        """Return these rules with parts of texts added that do not count; raises re.error for what is no pattern."""
        for pattern in patterns:
            re.compile(pattern)
        return replace(self, patterns=(*self.patterns, *patterns))

    def without(self, *keys: str) -> Rules:
        """Return these rules with top-level keys of the request's body added that do not count."""
        return replace(self, keys=self.keys | set(keys))

    def without_instructions(self) -> Rules:
        """Return these rules for another version of an agent, whose system prompt and tools are described anew."""
        return replace(self, instructions=False)

    def counts(self, key: str) -> bool:
        """Tell whether a key of the request's body counts."""
        if not self.instructions and key in _INSTRUCTIONS:
            return False
        return key not in self.keys and key not in _OF_THE_REQUEST and key not in _MARKS


@dataclass(frozen=True)
class Form:
    """Hold what counts of one request."""

    document: Any

    @cached_property
    def digest(self) -> bytes:
        """Return what equal forms share."""
        text = json.dumps(self.document, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    @cached_property
    def lines(self) -> list[str]:
        """Write the form for people: keys in their order, texts line by line."""
        text = json.dumps(self.document, indent=1, sort_keys=True, ensure_ascii=False)
        return text.replace("\\n", "\n").split("\n")


def form_of(path: str, query: str, body: bytes, rules: Rules) -> Form:
    """Return what counts of a request; a body that is no JSON counts by its text."""
    text = body.decode("utf-8", "replace")
    writer = _Writer(rules, _directory(text))
    try:
        parsed: Any = writer.request(json.loads(text))
    except (ValueError, RecursionError):
        parsed = writer.text(text, dates=False)
    asked = sorted(pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "key")
    return Form({"path": _VERSION.sub("/", path.rstrip("/")), "query": urlencode(asked), "body": parsed})


def _directory(text: str) -> re.Pattern[str] | None:
    """Find the directory that a request says it works in; the top of a file system would be every path."""
    called = _CALLED_DIRECTORY.search(text)
    named = called[1].rstrip("/.") if called else ""
    return _path(named) if named else None


def _path(path: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./-]){re.escape(path)}(?![\w-]|\.\w)")


_WORKSPACE, _HOME = _path("/work"), _path("/home/agent")


@dataclass(slots=True)
class _Writer:
    rules: Rules
    directory: re.Pattern[str] | None
    ids: dict[str, str] = field(default_factory=dict)

    def request(self, body: Any) -> Any:
        if not isinstance(body, dict):
            return self.value(body, dates=False)
        kept = sorted(key for key in body if self.rules.counts(key))
        return {key: self.member(key, self.said(key, body[key]), dates=key not in _CONVERSATION) for key in kept}

    def said(self, key: str, value: Any) -> Any:
        """Return a conversation without what the agent's maker says in it, where that does not count."""
        if self.rules.instructions or key not in _CONVERSATION or not isinstance(value, list):
            return value
        return [each for each in value if not (isinstance(each, dict) and each.get("role") in _AGENTS_OWN_ROLES)]

    def value(self, value: Any, dates: bool) -> Any:
        if isinstance(value, str):
            return self.text(value, dates)
        if isinstance(value, list):
            return [self.value(item, dates) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(role := value.get("role"), str):
            dates = role in _AGENTS_OWN_ROLES
        return {key: self.member(key, value[key], dates) for key in sorted(value) if key not in _MARKS}

    def member(self, key: str, value: Any, dates: bool) -> Any:
        if key in _IDS and isinstance(value, str):
            return self.ids.setdefault(value, f"<id {len(self.ids) + 1}>")
        if key in _OWN or (key == "input" and isinstance(value, dict)):
            return self.own(_parsed(value) if key == "arguments" else value, dates)
        return self.value(value, dates)

    def own(self, value: Any, dates: bool) -> Any:
        if isinstance(value, str):
            return self.text(value, dates)
        if isinstance(value, list):
            return [self.own(item, dates) for item in value]
        return {key: self.own(item, dates) for key, item in value.items()} if isinstance(value, dict) else value

    def text(self, text: str, dates: bool) -> str:
        if "/" in text:
            text = self._without_paths(text)
        text = _TIME.sub("<time>", _UUID.sub("<uuid>", text))
        text = _DATE.sub("<date>", text) if dates else _CALLED_DATE.sub(r"\1<date>", text)
        for pattern in self.rules.patterns:
            text = re.sub(pattern, "<ignored>", text)
        return text

    def _without_paths(self, text: str) -> str:
        if "/agentcap-" in text:
            # A sandbox on the host has below a folder of its own what a container has below `/`.
            text = _HOST_SANDBOX.sub("", _HOST_HOME.sub("/home/agent", text))
        if self.directory is not None:
            text = self.directory.sub("<workspace>", text)
        return _HOME.sub("<home>", _WORKSPACE.sub("<workspace>", text))


def _parsed(arguments: Any) -> Any:
    """Read a tool call's arguments, which some APIs hold as JSON text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        value: Mapping[str, Any] = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value
