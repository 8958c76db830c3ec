"""The page on loopback, at an address that nobody can guess: what other users of the machine must not read."""

from __future__ import annotations

import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageServer:
    """Serve one page on 127.0.0.1; `url` has the port, and a path that is the key to it.

    Raises OSError when the port is taken; port 0 takes any.
    """

    def __init__(self, page: bytes, port: int = 0) -> None:
        path = f"/{secrets.token_urlsafe(24)}/"

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "agentcap", ""

            def do_GET(self) -> None:
                self._answer(page)

            def do_HEAD(self) -> None:
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                asked = urlsplit(self.path).path.encode("utf-8", "replace")
                if not secrets.compare_digest(asked, path.encode()):
                    self.send_error(404)
                    return
                self.send_response(200)
                for name, value in {**_HEADERS, "Content-Length": str(len(page))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: the address in it is a key."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}{path}"

    def serve(self) -> None:
        """Answer until `close`, from another thread, or an interrupt."""
        try:
            self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()

    def close(self) -> None:
        self._server.shutdown()
