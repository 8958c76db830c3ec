"""The built-in `loop` agent: a small coding agent with one tool, bash.

This one file is copied into sandboxes and run there, so it needs nothing but Python's standard library, 3.9 or later.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BACKOFF_S = (0.5, 1.0, None)  # after each attempt; None: it was the last
LONGEST_WAIT_S = 10.0
SOCKET_TIMEOUT_S = 600.0
COMMAND_TIMEOUT_S = 120.0
LONGEST_COMMAND_S = 3600.0
OUTPUT_BYTES = 16 * 1024

SYSTEM_PROMPT = """\
You are a coding agent. You work in a terminal, alone, and nobody answers questions while you work.

- Your only tool is `bash`. Every call starts a new shell in the same working directory; files persist, variables and
  `cd` do not. Standard input is empty: use non-interactive options. Start servers in the background.
- Look before you change: read the files that matter, and follow the conventions you find.
- Do exactly what is asked, with the smallest change that does it well. Leave unrelated files alone.
- Check your work by running it: the tests, the script, the command that the user would run. When something fails,
  read the error and fix its cause.
- Stop when the task is done and checked. Then answer without a tool call: say in a few sentences what you did, what
  you checked, and what is left, if anything. Never claim what you have not seen."""

BASH = {
    "name": "bash",
    "description": "Run a bash command in the working directory; return its exit code, output and errors.",
    "parameters": {
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": "The command, run by `bash -c`."},
            "timeout": {"type": "number", "description": f"Seconds until it is killed, default {COMMAND_TIMEOUT_S:g}."},
        },
        "required": ["command"],
    },
}

Message = dict[str, Any]


class LoopError(Exception):
    """Say in one line why the agent gives up."""


class BrokenAnswer(Exception):
    """Say what of one model call failed in a way that may not happen again; `wait_s` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Model:
    """Name a model and where it is served; `sampling` is added to each request.

    `recalls` sends the model's reasoning back to it: some servers insist on that, others refuse it.
    """

    base_url: str
    name: str
    key: str | None
    sampling: dict[str, float]
    recalls: bool

    def complete(self, messages: list[Message]) -> Message:
        """Return the assistant's next message.

        Raises LoopError when the server refuses or when the last attempt has failed.
        """
        for backoff_s in BACKOFF_S:
            try:
                return self._attempt(messages)
            except (BrokenAnswer, OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
                asked_s = error.wait_s if isinstance(error, BrokenAnswer) else None
            if backoff_s is not None:
                time.sleep(min(backoff_s if asked_s is None else asked_s, LONGEST_WAIT_S))
        raise LoopError(f"model call failed {len(BACKOFF_S)} times: {reason}")

    def _attempt(self, messages: list[Message]) -> Message:
        url = urllib.parse.urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise LoopError(f"--base-url {self.base_url!r}: use http://HOST/v1 or https://HOST/v1")
        connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        body = {
            "model": self.name,
            "messages": messages,
            "tools": [{"type": "function", "function": BASH}],
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.sampling,
        }
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "User-Agent": "agentcap-loop"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        with contextlib.closing(connect(url.netloc, timeout=SOCKET_TIMEOUT_S)) as connection:
            path = url.path.rstrip("/") + "/chat/completions"
            connection.request("POST", path, json.dumps(body).encode(), headers)
            response = connection.getresponse()
            if response.status >= 400:
                text = response.read(64 * 1024).decode("utf-8", "replace")
                reason = f"HTTP {response.status}: {error_message(text)}"
                if response.status != 429 and response.status < 500:
                    raise LoopError(f"model call refused: {reason}")
                wait = response.getheader("retry-after", "").strip()
                raise BrokenAnswer(reason, float(wait) if wait.isdecimal() else None)
            message = read_stream(response)
        if not self.recalls:
            message.pop("reasoning_content", None)
        return message


@dataclass
class StreamedMessage:
    """Collect the deltas of one assistant message."""

    content: str = ""
    reasoning: str = ""
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self.content += delta.get("content") or ""
            self.reasoning += delta.get("reasoning_content") or ""
            for part in delta.get("tool_calls") or ():
                index, function = part.get("index", 0), part.get("function") or {}
                empty = {"id": f"call_{index}", "type": "function", "function": {"name": "", "arguments": ""}}
                call = self.tool_calls.setdefault(index, empty)
                call["id"] = part.get("id") or call["id"]
                call["function"]["name"] = function.get("name") or call["function"]["name"]
                call["function"]["arguments"] += function.get("arguments") or ""
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def message(self) -> Message:
        message: Message = {"role": "assistant", "content": self.content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [call for _, call in sorted(self.tool_calls.items())]
        return message


def read_stream(response: http.client.HTTPResponse) -> Message:
    """Merge a stream of chat completion chunks into one assistant message.

    Raises BrokenAnswer when it is malformed, reports an error, or ends before the message does.
    """
    streamed = StreamedMessage()
    for line in response:
        name, _, value = line.strip().partition(b":")
        data = value.strip()
        if name != b"data" or data == b"[DONE]":
            continue
        try:
            chunk = json.loads(data)
            if chunk.get("error"):
                raise BrokenAnswer(f"error in the stream: {error_message(data.decode())}")
            streamed.add(chunk)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BrokenAnswer(f"malformed stream: {data[:200]!r}") from error
    if streamed.finish_reason is None:
        # http.client reports a chunked body that breaks off as an ordinary end.
        raise BrokenAnswer("the stream ended before the message did")
    return streamed.message()


def error_message(text: str) -> str:
    """Return the message of an error body in one line, or the start of the body itself."""
    message: Any = text
    with contextlib.suppress(ValueError, TypeError, KeyError):
        error = json.loads(text)["error"]
        message = error if isinstance(error, str) else error["message"]
    return " ".join(str(message).split())[:500]


def run_tool(call: dict[str, Any]) -> Message:
    """Run one tool call; whatever is wrong with it becomes the result that the model reads."""
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"] or "{}")
        if function["name"] != "bash":
            raise ValueError(f"there is no tool {function['name']!r}, only bash")
        if not isinstance(arguments, dict) or not isinstance(arguments.get("command"), str):
            raise ValueError("bash needs an object with a string `command`")
        timeout = float(arguments.get("timeout") or COMMAND_TIMEOUT_S)
        content = run_bash(arguments["command"], min(max(timeout, 1.0), LONGEST_COMMAND_S))
    except (OSError, ValueError, TypeError) as error:
        content = f"error: {error}"
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


def run_bash(command: str, timeout_s: float) -> str:
    """Run a command in a process group of its own, killed at the deadline; return exit code and output.

    Raises OSError or ValueError when it cannot be started.
    """
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + timeout_s
    output = Output()
    try:
        for data in read_until_exit(process, deadline):
            output.add(data)
        process.wait(max(0.0, deadline - time.monotonic()))
        status = f"exit code: {process.returncode}"
    except subprocess.TimeoutExpired:
        status = f"killed after {timeout_s:g} s"
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
    return f"{status}\n{output.text()}"


def read_until_exit(process: subprocess.Popen[bytes], deadline: float) -> Iterator[bytes]:
    """Yield output until its end, the command's exit or the deadline.

    A background process may hold the pipe open for ever: once the shell has exited, all it wrote is there to read.
    """
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    while time.monotonic() < deadline:
        exited = process.poll() is not None
        readable, _, _ = select.select([descriptor], [], [], 0 if exited else 0.05)
        if readable:
            data = os.read(descriptor, 65536)
            if not data:
                return
            yield data
        elif exited:
            return


class Output:
    """Keep the first and the last bytes of an output, at most OUTPUT_BYTES."""

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._left_out = 0

    def add(self, data: bytes) -> None:
        half = OUTPUT_BYTES // 2
        room = half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        self._left_out += max(0, len(self._tail) - half)
        self._tail = self._tail[-half:]

    def text(self) -> str:
        gap = f"\n[... {self._left_out} bytes left out ...]\n".encode() if self._left_out else b""
        return (self._head + gap + self._tail).decode("utf-8", "replace")


class Session:
    """Keep a conversation in `$HOME/.loop/sessions/<name>.jsonl`, one message a line."""

    def __init__(self, name: str, resume: bool) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
            raise LoopError(f"--session {name!r}: use letters, digits, '.', '_' and '-'")
        self._path = Path.home() / ".loop" / "sessions" / f"{name}.jsonl"
        self.messages: list[Message] = []
        if resume:
            self._load()
        else:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(b"")
            self.add({"role": "system", "content": SYSTEM_PROMPT})

    def add(self, *messages: Message) -> None:
        """Append the messages of one step by one write, so that a killed agent leaves whole steps."""
        self.messages.extend(messages)
        with self._path.open("ab") as file:
            file.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def _load(self) -> None:
        try:
            self.messages = [json.loads(line) for line in self._path.read_bytes().splitlines()]
        except FileNotFoundError:
            raise LoopError(f"--resume: there is no session {self._path}") from None
        except ValueError as error:
            raise LoopError(f"--resume: {self._path} is damaged: {error}") from error


def run_turn(model: Model, session: Session, content: Any, max_steps: int) -> str:
    """Work on a prompt, a text or a list of parts, until the model answers without a tool call; return that answer.

    Raises LoopError.
    """
    session.add({"role": "user", "content": content})
    for _ in range(max_steps):
        message = model.complete(session.messages)
        if "tool_calls" not in message:
            session.add(message)
            return str(message["content"])
        session.add(message, *(run_tool(call) for call in message["tool_calls"]))
    raise LoopError(f"no final answer after {max_steps} steps (--max-steps)")


def read_prompt() -> str:
    """Read the prompt from standard input.

    Raises LoopError when it is empty or not UTF-8.
    """
    try:
        prompt = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise LoopError(f"the prompt on standard input is not UTF-8: {error}") from error
    if not prompt.strip():
        raise LoopError("no prompt on standard input")
    return prompt


def with_images(prompt: str, paths: list[Path]) -> Any:
    """Return a message's content: the prompt, and behind it images, whose types their names' endings tell."""
    images = [(path.suffix[1:], base64.b64encode(path.read_bytes()).decode()) for path in paths]
    urls = [f"data:image/{kind};base64,{data}" for kind, data in images]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": prompt}, *parts] if parts else prompt


def main() -> int:
    parser = argparse.ArgumentParser(prog="loop", description=__doc__)
    parser.add_argument("--base-url", required=True, help="where chat/completions is served, such as http://host/v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--session", required=True, help="the conversation's name")
    parser.add_argument("--resume", action="store_true", help="continue the conversation instead of starting it anew")
    parser.add_argument("--max-steps", type=int, default=50, help="model calls in one turn, default 50")
    parser.add_argument("--temperature", type=float, help="how answers are sampled, else as the server likes")
    parser.add_argument("--max-tokens", type=int, help="the longest answer, else as the server likes")
    parser.add_argument(
        "--include-reasoning-content", action="store_true", help="send the model's reasoning back, as some servers need"
    )
    parser.add_argument("--image", type=Path, action="append", default=[], help="send this image with the prompt")
    options = parser.parse_args()
    # Commands have sessions of their own: turned into an exit, a TERM reaches them through run_bash.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    asked = {"temperature": options.temperature, "max_tokens": options.max_tokens}
    sampling = {name: value for name, value in asked.items() if value is not None}
    key, recalls = os.environ.get("OPENAI_API_KEY"), options.include_reasoning_content
    model = Model(options.base_url, options.model, key, sampling, recalls)
    try:
        content = with_images(read_prompt(), options.image)
        answer = run_turn(model, Session(options.session, options.resume), content, options.max_steps)
    except (LoopError, OSError) as error:
        print(f"loop: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(answer.encode("utf-8", "replace") + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
