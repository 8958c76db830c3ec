"""The benchmark's model server: it answers at once, and only as fast as it was asked to.

A request's `x-bench: EVENTS BYTES PACE_MS` header asks for a stream of that many events of about that size; without
it the answer is 1 KB of JSON. Each event says when it was sent (`sent_ns`, the machine's monotonic clock). A request's
`x-bench-id` comes back as a response header, and `GET /seen` lists all ids that have arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import time
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_STREAM = re.compile(rb"\r\nx-bench: *(\d+) (\d+) (\d+)")
_ID = re.compile(rb"\r\nx-bench-id: *([0-9a-z-]+)")
_LONGEST_HEAD = 1 << 15
_EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench","sent_ns":%d,'
    b'"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
)
_JSON = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"%b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
) % (b"x" * 800)


class Upstream(asyncio.BufferedProtocol):
    """Serve one connection; request bodies are counted, never kept."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen
        self._transport: asyncio.Transport
        # One buffer for the life of the connection: 256 KB of fresh memory per read costs more than the read.
        self._buffer = bytearray(1 << 18)
        self._head = b""
        self._missing = 0
        self._unread = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        start = 0
        while start < nbytes:
            if not self._missing:
                known = len(self._unread)
                self._unread += self._buffer[start : min(nbytes, start + _LONGEST_HEAD)]
                end = self._unread.find(b"\r\n\r\n") + 4
                if end < 4:
                    return
                start += end - known
                self._head = self._unread[:end].lower()
                self._unread = b""
                length = _LENGTH.search(self._head)
                self._missing = int(length[1]) if length else 0
            taken = min(self._missing, nbytes - start)
            self._missing -= taken
            start += taken
            if not self._missing:
                self._answer()

    def _answer(self) -> None:
        if self._head.startswith(b"get /seen"):
            self._write_json(json.dumps(self._seen).encode(), b"")
            return
        number = _ID.search(self._head)
        echo = b""
        if number:
            self._seen.append(number[1].decode())
            echo = b"x-bench-id: %b\r\n" % number[1]
        stream = _STREAM.search(self._head)
        if not stream:
            self._write_json(_JSON, echo)
            return
        events, size, pace_ms = map(int, stream.groups())
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
            b"%btransfer-encoding: chunked\r\n\r\n" % echo
        )
        loop = asyncio.get_running_loop()
        self._send_event(loop, events, b"x" * size, pace_ms / 1000, loop.time())

    def _write_json(self, body: bytes, extra: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (extra, len(body))
        self._transport.write(head + body)

    def _send_event(self, loop: asyncio.AbstractEventLoop, left: int, text: bytes, pace_s: float, due: float) -> None:
        event = _EVENT % (time.monotonic_ns(), text)
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        if left > 1:
            # Events are due at fixed times: a late one must not make the rest of the stream slower.
            due += pace_s
            self._timer = loop.call_at(due, self._send_event, loop, left - 1, text, pace_s, due)
        else:
            self._transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def serve(port: int, tls: ssl.SSLContext | None) -> None:
    seen: list[str] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(seen), "127.0.0.1", port, ssl=tls, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", metavar="PEM", help="a file with a certificate and its key: serve https")
    options = parser.parse_args()
    tls = None
    if options.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, tls))


if __name__ == "__main__":
    main()
