"""A capture proxy as agentcap's Python version was: starlette and httpx, bodies parsed and dumped in the event loop.

Its faults are part of what is measured: a stream is answered with 200 before the upstream has said anything, and each
call's two indented JSON files are written while every other call waits.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

_NOT_FORWARDED = frozenset(
    [
        "host",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "upgrade",
    ]
)


class StyleProxy:
    """Forward chat calls to one upstream and keep a pair of files for each."""

    def __init__(self, upstream: str, captures: Path) -> None:
        self._url = upstream + "/v1/chat/completions"
        self._captures = captures
        self._client = httpx.AsyncClient(timeout=None)

    async def chat(self, request: Request) -> Response:
        rid = uuid.uuid4().hex
        content = await request.body()
        body = _parsed(content)
        self._save(f"{rid}.request.json", {**self._about(rid, "captured_at"), "upstream_url": self._url, "body": body})
        headers = {name: value for name, value in request.headers.items() if name not in _NOT_FORWARDED}
        if body.get("stream"):
            return StreamingResponse(self._stream(rid, content, headers), media_type="text/event-stream")
        answer = await self._client.post(self._url, content=content, headers=headers)
        about = {**self._about(rid, "captured_at_resp"), "stream": False, "status_code": answer.status_code}
        reply = _parsed(answer.content)
        found = _fingerprint(answer.headers, reply.get("model"))
        self._save(f"{rid}.response.json", {**about, "body": reply, "upstream_fingerprint": found})
        passed = {name: value for name, value in answer.headers.items() if name not in _NOT_FORWARDED}
        return Response(answer.content, answer.status_code, passed)

    async def _stream(self, rid: str, content: bytes, headers: dict[str, str]) -> AsyncIterator[bytes]:
        pieces: list[bytes] = []
        status, fingerprint = 502, httpx.Headers()
        try:
            async with self._client.stream("POST", self._url, content=content, headers=headers) as answer:
                status, fingerprint = answer.status_code, answer.headers
                async for piece in answer.aiter_bytes():
                    pieces.append(piece)
                    yield piece
        finally:
            raw = b"".join(pieces).decode("utf-8", "replace")
            found = _fingerprint(fingerprint, _streamed_model(raw))
            about = {**self._about(rid, "captured_at_resp"), "stream": True, "status_code": status}
            self._save(f"{rid}.response.json", {**about, "raw": raw, "upstream_fingerprint": found})

    def _about(self, rid: str, clock: str) -> dict[str, Any]:
        return {"request_id": rid, clock: int(time.time())}

    def _save(self, name: str, document: dict[str, Any]) -> None:
        (self._captures / name).write_text(json.dumps(document, indent=2))


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(content)
    except ValueError:
        return {"_unparsed_raw": content.decode("utf-8", "replace")}
    return body


def _streamed_model(raw: str) -> str | None:
    for line in raw.splitlines():
        if line.startswith("data: {"):
            model = json.loads(line.removeprefix("data: ")).get("model")
            return str(model) if model else None
    return None


def _fingerprint(headers: httpx.Headers, model: str | None) -> dict[str, str | None]:
    names = {"server": "server", "x_served_by": "x-served-by", "via": "via", "build_info": "x-build-info"}
    return {**{key: headers.get(name) for key, name in names.items()}, "served_model": model}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("upstream")
    parser.add_argument("port", type=int)
    parser.add_argument("captures", type=Path)
    options = parser.parse_args()
    proxy = StyleProxy(options.upstream, options.captures)
    app = Starlette(routes=[Route("/v1/chat/completions", proxy.chat, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
