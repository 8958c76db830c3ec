"""A headless program that prints JSON lines; what it was called with is a file in its working directory."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

arguments = sys.argv[1:]
prompt = sys.stdin.read() if "-" in arguments else arguments[-1]
with Path("calls.jsonl").open("a") as log:
    log.write(json.dumps({"arguments": arguments, "prompt": prompt}) + "\n")


def emit(**event: object) -> None:
    print(json.dumps(event), flush=True)


body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": prompt}]}
url, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
emit(type="system", meta={"session": {"id": f"session-{os.getpid()}"}})
emit(type="tool_use", name="Model", status="pending")
with urllib.request.urlopen(request) as response:
    json.load(response)
emit(type="tool_result", name="Model")
emit(type="assistant", message={"content": [{"type": "text", "text": "thinking"}, {"type": "image"}]})
emit(type="result", result=f"answered {prompt!r}")
emit(type="assistant", message={"content": [{"type": "text", "text": "after the end"}]})
