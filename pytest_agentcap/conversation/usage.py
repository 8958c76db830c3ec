"""Token counts as the model server told them; what it did not tell is None, never 0."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.conversation.sse import read_events
from pytest_agentcap.runs.captures import Half

# Most chunks of a stream say `"usage":null`: only an object is worth parsing its event for.
_TOLD = re.compile(r'"(?:usage|usageMetadata)"\s*:\s*\{')
_Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold one call's token counts.

    `prompt_tokens` is all input, cached or not; `completion_tokens` is all output, reasoning included.
    `cached_tokens` and `reasoning_tokens` are the parts of them that were read from a cache and spent on reasoning.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


def usage_of(api: str, half: Half | None) -> Usage:
    """Read the token counts from a response, streamed or not.

    Anthropic's messages count prompt tokens as input_tokens + cache_read_input_tokens + cache_creation_input_tokens,
    Gemini's as promptTokenCount + toolUsePromptTokenCount, and its completion as candidates + thoughts. Of several
    reports in a stream the later wins. An unknown API, no response and an unreadable one give no counts.
    """
    reader = _READERS.get(api)
    if reader is None or half is None or b"usage" not in half.text:
        return Usage()
    merged: _Figures = {}
    for document in _documents(half):
        _merge(merged, _find_figures(document))
    return reader(merged) if merged else Usage()


def _documents(half: Half) -> Iterator[Any]:
    """Yield the JSON values that may hold counts: the body, or the events of a stream that have a usage object."""
    content = _parse(half.text)
    if half.key == "raw" and isinstance(content, str):
        for data in _telling_events(content):
            yield _parse(data)
    elif isinstance(content, list):
        # Gemini streams a JSON array of chunks to clients that do not ask for SSE.
        yield from content
    else:
        yield content


def _telling_events(stream: str) -> Iterator[str]:
    """Yield the data of the events with a usage object, without looking at the lines of all the others."""
    if "\r" in stream:
        stream = stream.replace("\r\n", "\n").replace("\r", "\n")
    end = 0
    while told := _TOLD.search(stream, end):
        start = max(stream.rfind("\n\n", end, told.start()), end)
        end = stream.find("\n\n", told.end())
        if end < 0:
            end = len(stream)
        yield from (event.data for event in read_events(stream[start:end]))


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _find_figures(document: Any) -> _Figures:
    """Return the usage object of a body or of an event of any API, empty when there is none."""
    if not isinstance(document, dict):
        return {}
    for holder in (document, document.get("response"), document.get("message")):
        if isinstance(holder, dict):
            for key in ("usage", "usageMetadata"):
                if isinstance(holder.get(key), dict):
                    return dict(holder[key])
    return {}


def _merge(merged: _Figures, later: _Figures) -> None:
    for key, value in later.items():
        # Servers that count the input only once say 0 for it in message_delta; output is counted on to the end.
        if value is not None and (value != 0 or not merged.get(key) or key == "output_tokens"):
            merged[key] = value


def _count(figures: Any, *path: str) -> int | None:
    """Return a whole, non-negative number from nested objects, or None."""
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    if isinstance(figures, bool) or not isinstance(figures, int | float) or figures < 0 or figures % 1:
        return None
    return int(figures)


def _sum(first: int | None, *others: int | None) -> int | None:
    """Add what is known to the first figure; without the first there is no sum."""
    return None if first is None else first + sum(other or 0 for other in others)


def _read_chat(figures: _Figures) -> Usage:
    return Usage(
        _count(figures, "prompt_tokens"),
        _count(figures, "completion_tokens"),
        _count(figures, "prompt_tokens_details", "cached_tokens"),
        _count(figures, "completion_tokens_details", "reasoning_tokens"),
    )


def _read_embeddings(figures: _Figures) -> Usage:
    return Usage(_count(figures, "prompt_tokens"))


def _read_responses(figures: _Figures) -> Usage:
    return Usage(
        _count(figures, "input_tokens"),
        _count(figures, "output_tokens"),
        _count(figures, "input_tokens_details", "cached_tokens"),
        _count(figures, "output_tokens_details", "reasoning_tokens"),
    )


def _read_messages(figures: _Figures) -> Usage:
    cached = _count(figures, "cache_read_input_tokens")
    prompt = _sum(_count(figures, "input_tokens"), cached, _count(figures, "cache_creation_input_tokens"))
    return Usage(prompt, _count(figures, "output_tokens"), cached)


def _read_gemini(figures: _Figures) -> Usage:
    thoughts = _count(figures, "thoughtsTokenCount")
    answer = _count(figures, "candidatesTokenCount")
    return Usage(
        _sum(_count(figures, "promptTokenCount"), _count(figures, "toolUsePromptTokenCount")),
        # A call that ran out of tokens while it thought has no candidates to count.
        thoughts if answer is None else _sum(answer, thoughts),
        _count(figures, "cachedContentTokenCount"),
        thoughts,
    )


_READERS: Mapping[str, Callable[[_Figures], Usage]] = {
    "chat": _read_chat,
    "completions": _read_chat,
    "responses": _read_responses,
    "messages": _read_messages,
    "embeddings": _read_embeddings,
    "gemini": _read_gemini,
}
