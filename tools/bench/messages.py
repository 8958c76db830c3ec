"""The requests that the load is made of: a coding agent's, by size."""

from __future__ import annotations

import json

_LINE = 'def step_%d(path):\n    return path.read_text().replace("\\t", "    ")  # naïve → plain\n'
_ROLES = ("user", "assistant", "tool")


def make_body(size: int, *, stream: bool = False) -> bytes:
    """Build a chat request of about `size` bytes: a history of messages full of code and escapes."""
    messages: list[dict[str, str]] = []
    document = {"model": "bench", "stream": stream, "messages": messages}
    length = len(json.dumps(document))
    while length < size - 60:
        text = (_LINE % len(messages)) * 20
        message = {"role": _ROLES[len(messages) % 3], "content": text[: max(1, min(1500, size - length - 100))]}
        messages.append(message)
        length += len(json.dumps(message)) + 2
    return json.dumps(document).encode()


def make_request(body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Build the wire form of a chat call with the headers that agents send, and some more."""
    sent = {
        "host": "localhost",
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "content-type": "application/json",
        "user-agent": "bench/1",
        "authorization": "Bearer bench",
        **(headers or {}),
        "content-length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + body


def make_stream_request(events: int, size: int, pace_ms: int, headers: dict[str, str] | None = None) -> bytes:
    """Build a call whose answer is a stream: so many events of `size` bytes of text, one every `pace_ms`."""
    asked = {"x-bench": f"{events} {size} {pace_ms}", **(headers or {})}
    return make_request(make_body(2_000, stream=True), asked)
