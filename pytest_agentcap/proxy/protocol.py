"""uvicorn's HTTP protocol, made to give the endpoint each request as the agent sent it."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class FaithfulProtocol(HttpToolsProtocol):
    """Tell targets as they came, and read the bodies of requests that offer another protocol.

    Of `http://elsewhere/path` and of `/path#part` (RFC 9112 section 3.2) uvicorn gives the path alone, so that nobody
    could tell them from what they are not; such a target is put into `raw_path` as it is, for the endpoint to refuse.
    A request with `upgrade: h2c`, such as the first one of Java's client, loses its body: llhttp takes what follows
    its head for the other protocol (RFC 9110 section 7.8 lets a server go on in this one).
    """

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self._head_without_offer() + data[offer.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("no tunnels: uvicorn answers 400")
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        if self.url[:1] != b"/" or b"#" in self.url:
            # The endpoint has not been called yet: its task starts when the event loop comes to it.
            self.scope["raw_path"] = self.url

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
