"""OpenAI's plain completions: a prompt and the text that follows it."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_agentcap.conversation.chat import read_sampling
from pytest_agentcap.conversation.model import Answer, Message, Request, Text
from pytest_agentcap.conversation.sse import Event
from pytest_agentcap.conversation.values import Document, as_integer, as_objects, as_text, as_texts
from pytest_agentcap.conversation.wire import Api, Merged, append_text, documents


def merge(events: Iterable[Event]) -> Merged:
    """Join the chunks of a stream to the completion they stand for."""
    body: Document = {"object": "text_completion", "choices": []}
    choices: dict[int, Document] = {}
    ended, error = False, None
    for event in events:
        ended = ended or event.data.strip() == "[DONE]"
        for chunk in documents([event]):
            if chunk.get("error") is not None:
                error = chunk
                continue
            body |= {key: value for key, value in chunk.items() if key != "choices" and value is not None}
            for piece in as_objects(chunk.get("choices")):
                choice = choices.setdefault(as_integer(piece.get("index")) or 0, {"text": ""})
                append_text(choice, "text", piece.get("text"))
                choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")
    body["choices"] = [{"index": index, **choices[index]} for index in sorted(choices)]
    finished = bool(choices) and all(choice.get("finish_reason") for choice in choices.values())
    return Merged(body, (ended or finished) and error is None, error)


def read_request(body: Document) -> Request:
    """Read the body of a request; each prompt is a user message, one of token ids has none."""
    messages = tuple(Message("user", (Text(prompt),)) for prompt in as_texts(body.get("prompt")))
    return Request(as_text(body.get("model")), messages, (), read_sampling(body), body.get("stream") is True)


def read_answer(body: Document) -> Answer:
    """Read a completion's body."""
    choices = as_objects(body.get("choices"))
    messages = [Message("assistant", (Text(choice["text"]),)) for choice in choices if as_text(choice.get("text"))]
    return Answer(
        messages[0] if messages else None,
        as_text(choices[0].get("finish_reason")) if choices else None,
        bool(choices),
        as_text(body.get("model")),
        as_text(body.get("id")),
        alternatives=tuple(messages[1:]),
    )


COMPLETIONS = Api(merge, read_request, read_answer)
