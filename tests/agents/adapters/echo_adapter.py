"""An adapter that speaks JSON-RPC on lines, in Python's standard library; prompts say what it is to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

said: list[str] = []


def send(**message: object) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def update(**told: object) -> None:
    send(method="session/update", params={"sessionId": "s1", "update": told})


def ask_model() -> str:
    body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": text} for text in said]}
    url, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def prompted(text: str) -> dict[str, object]:
    said.append(text)
    if "please hang" in text:
        child = subprocess.Popen(["sleep", "600"])
        Path("pids").write_text(f"{os.getpid()} {child.pid}")
        update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": "still "})
        time.sleep(600)
    if "please refuse" in text:
        raise ValueError("refused on purpose")
    if "please die" in text:
        print("dying", file=sys.stderr, flush=True)
        sys.exit(7)
    send(id="q1", method="session/request_permission", params={})
    update(sessionUpdate="agent_thought_chunk", content={"type": "text", "text": "hm"})
    update(sessionUpdate="agent_tool_call", toolCall={"name": "Model", "status": "pending"})
    answer = ask_model()
    update(sessionUpdate="agent_tool_call", toolCall={"name": "Model", "status": "completed"})
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": "one "})
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": "two"})
    print("a notice that is no message", flush=True)
    return {"content": [{"type": "text", "text": f"{len(said)} {answer}"}]}


for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    try:
        if method == "initialize":
            send(id=message["id"], result={"protocolVersion": 1, "agentInfo": {"name": "echo"}})
        elif method == "session/new":
            assert Path(message["params"]["cwd"]).samefile(".")
            send(id=message["id"], result={"sessionId": "s1"})
        elif method == "session/prompt":
            text = "\n".join(block["text"] for block in message["params"]["prompt"])
            send(id=message["id"], result=prompted(text))
    except ValueError as error:
        send(id=message["id"], error={"code": -32603, "message": str(error)})
