"""Follow-ups that the run's own model drafts; it is asked directly, so that captures hold the agent's calls alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pytest_agentcap.followup.base import Draft, Said
from pytest_agentcap.proxy.apis import UnsafePath, Upstream

FALLBACK = "continue"
MOST_WORDS = 30
INSTRUCTIONS = f"""\
You are the user of a coding agent that works in a terminal. You are shown the task you gave it and its latest answer.
Write the user's next message to the agent: one request that builds on what it has done, to do something more or to
show something. At most {MOST_WORDS} words of plain text, in the language of the task. Write the message alone: no
quotation marks, no label, no thanks, nothing about who or what you are."""

_TIMEOUT_S = 120.0
_SHOWN_CHARS = 4000
_MOST_TOKENS = 2048
# What servers say that do not have this API.
_ABSENT = frozenset({404, 405, 501})
_LABEL = re.compile(r"^(?:user|message|prompt|follow-?up|next (?:message|prompt|request))\s*:\s*", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "«": "»"}
_UNSENDABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]+")
_KIND = r"(?:AI\b|artificial intelligence|(?:large )?language model|chat ?bot|coding agent|assistant)"
_OF_ITSELF = re.compile(rf"\b(?:as|I am|I['’]m|my name is)\s+(?:an?\s+|the\s+)?(?:\w+\s+)?{_KIND}", re.IGNORECASE)
_SHORTEST_NAME = 4


class DraftError(Exception):
    """Say why there is no draft."""


@dataclass(frozen=True, slots=True)
class Synthesizer:
    """Have the model write the next prompt: at most 30 words, about the work and not about itself.

    It is asked in chat completions; an upstream without them, in the agent's own `api`.
    """

    upstream: Upstream
    model: str
    api: str = "chat"

    def draft(self, turn: int, said: Sequence[Said]) -> Draft:
        """Return the draft, or `continue` with a note that says why."""
        try:
            return Draft(tidy(self._ask(_material(said)), self.model))
        except DraftError as error:
            return Draft(FALLBACK, f"turn {turn}: {FALLBACK!r} was said, no follow-up was drafted: {error}")

    def _ask(self, material: str) -> str:
        import httpx

        status = 0
        secure = self.upstream.origin.startswith("https:")
        verify = httpx.create_ssl_context() if secure else False
        with httpx.Client(verify=verify, trust_env=False, timeout=_TIMEOUT_S) as client:
            for api in (name for name in dict.fromkeys(("chat", self.api)) if name in _WIRES):
                wire = _WIRES[api]
                key = self.upstream.key_header(api)
                headers = [*wire.headers, *([key] if key else [])]
                try:
                    url = self.upstream.origin + self.upstream.target(wire.path(self.model), "")
                    answer = client.post(url, json=wire.body(self.model, material), headers=headers)
                    status = answer.status_code
                    if status not in _ABSENT:
                        return wire.text(answer.raise_for_status().json())
                except httpx.HTTPStatusError:
                    break
                except UnsafePath as error:
                    raise DraftError(str(error)) from error
                except httpx.HTTPError as error:
                    raise DraftError(f"the upstream gave no answer ({type(error).__name__})") from error
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    raise DraftError("the upstream's answer holds no text") from error
        raise DraftError(f"the upstream answered {status}")


def tidy(text: str, model: str) -> str:
    """Return a draft as one line of at most 30 words, without what models put around it.

    Raises DraftError when nothing is left, when its first sentence is too long, and when it names its author.
    """
    text = text.rpartition("</think>")[2].partition("<think>")[0]
    text = " ".join(_UNSENDABLE.sub(" ", text).split())
    text = _unquoted(_LABEL.sub("", _unquoted(text)))
    if not text:
        raise DraftError("the draft is empty")
    name = model.rpartition("/")[2].partition(":")[0]
    named = len(name) >= _SHORTEST_NAME and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)
    if named or _OF_ITSELF.search(text):
        raise DraftError("the draft speaks of its author")
    return _shortened(text)


def _unquoted(text: str) -> str:
    closing = _QUOTES.get(text[:1])
    return text[1:-1].strip() if closing and len(text) > 1 and text.endswith(closing) else text


def _shortened(text: str) -> str:
    """Keep the whole sentences that fit."""
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        words = [*kept, *sentence.split()]
        if len(words) > MOST_WORDS:
            break
        kept = words
    if not kept:
        raise DraftError(f"the draft has {len(text.split())} words, {MOST_WORDS} are allowed")
    return " ".join(kept)


def _material(said: Sequence[Said]) -> str:
    parts = [f"Your task for the agent:\n{_excerpt(said[0].prompt)}"]
    if len(said) > 1:
        parts.append(f"Your last message to it:\n{_excerpt(said[-1].prompt)}")
    parts.append(f"Its latest answer:\n{_excerpt(said[-1].reply) or '(it said nothing)'}")
    return "\n\n".join(parts)


def _excerpt(text: str) -> str:
    # Halves of surrogate pairs cannot be encoded.
    text = text.encode("utf-8", "replace").decode()
    half = _SHOWN_CHARS // 2
    return text if len(text) <= _SHOWN_CHARS else f"{text[:half]}\n[…]\n{text[-half:]}"


@dataclass(frozen=True, slots=True)
class _Wire:
    """Describe how one API is asked for one text; `text` raises what subscripting raises."""

    path: Callable[[str], str]
    body: Callable[[str, str], dict[str, Any]]
    text: Callable[[Any], str]
    headers: tuple[tuple[bytes, bytes], ...] = ()


def _chat_body(model: str, material: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": material}]
    return {"model": model, "messages": messages}


def _responses_body(model: str, material: str) -> dict[str, Any]:
    return {"model": model, "instructions": INSTRUCTIONS, "input": material, "store": False}


def _messages_body(model: str, material: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": material}]
    return {"model": model, "max_tokens": _MOST_TOKENS, "system": INSTRUCTIONS, "messages": messages}


def _gemini_body(_model: str, material: str) -> dict[str, Any]:
    return {
        "systemInstruction": {"parts": [{"text": INSTRUCTIONS}]},
        "contents": [{"role": "user", "parts": [{"text": material}]}],
    }


def _joined(parts: str | Sequence[Mapping[str, Any]]) -> str:
    """Return the text of content, which is a text or a list of parts; reasoning is none."""
    if isinstance(parts, str):
        return parts
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str) and not part.get("thought"))


def _responses_text(answer: Any) -> str:
    return "".join(_joined(item["content"]) for item in answer["output"] if item.get("type") == "message")


_WIRES: Mapping[str, _Wire] = {
    "chat": _Wire(
        lambda _: "/v1/chat/completions", _chat_body, lambda answer: _joined(answer["choices"][0]["message"]["content"])
    ),
    "responses": _Wire(lambda _: "/v1/responses", _responses_body, _responses_text),
    "messages": _Wire(
        lambda _: "/v1/messages",
        _messages_body,
        lambda answer: _joined(answer["content"]),
        ((b"anthropic-version", b"2023-06-01"),),
    ),
    "gemini": _Wire(
        lambda model: f"/v1beta/models/{quote(model)}:generateContent",
        _gemini_body,
        lambda answer: _joined(answer["candidates"][0]["content"]["parts"]),
    ),
}
