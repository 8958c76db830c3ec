"""uvicorn's HTTP protocol, made to tell the endpoint a request's target as the agent sent it."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class ExactTarget(HttpToolsProtocol):
    """Put a target that is more than path and query into `raw_path` as it came, for the endpoint to refuse.

    Of `http://elsewhere/path` and of `/path#part` (RFC 9112 section 3.2) uvicorn gives the path alone, so that nobody
    could tell them from what they are not.
    """

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.url[:1] != b"/" or b"#" in self.url:
            # The endpoint has not been called yet: its task starts when the event loop comes to it.
            self.scope["raw_path"] = self.url
