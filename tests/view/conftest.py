from __future__ import annotations

import json
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.runs.layout import RunDirectory

PATCH = b"diff --git a/milk.txt b/milk.txt\nnew file mode 100644\n--- /dev/null\n+++ b/milk.txt\n@@ -0,0 +1 @@\n+2 l\n"


class ReadPage(HTMLParser):
    """A page as a browser reads it: its elements by id, and the scripts that would run."""

    def __init__(self, html: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.data: dict[str, str] = {}
        self.runs: list[str] = []
        self.policy = ""
        self.tags: list[str] = []
        self._into: str | None = None
        self.feed(html.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append(tag)
        if tag == "meta" and told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told["content"] or ""
        self._into = (told.get("id") or "") if tag == "script" else tag

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into == "":
            self.runs.append(data)
        elif self._into is not None:
            self.data[self._into] = self.data.get(self._into, "") + data

    @property
    def index(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data["index"])
        return found

    def document(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(inflate(self.data[f"document-{number}"]))
        return found

    def text(self, number: int, held: Any) -> str:
        """Return what a document holds by its place."""
        if not isinstance(held, list):
            return str(held)
        whole = b"".join(
            inflate(self.data[f"block-{number}-{block}"]) for block in range(self.index["sessions"][number]["blocks"])
        )
        return b"".join(whole[s : s + n] for s, n in zip(held[::2], held[1::2], strict=True)).decode()


def inflate(text: str) -> bytes:
    return zlib.decompress(b64decode(text), -zlib.MAX_WBITS)


@pytest.fixture
def read_page() -> type[ReadPage]:
    return ReadPage


@pytest.fixture
def run(workspace: Path, new_session: Any) -> RunDirectory:
    """A session of two calls that uses a tool and changes a file, and a second trial that was refused."""
    run = RunDirectory(workspace / ".agentcap" / "pi-local-1")
    session = new_session("buy")
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says("let me look", ("c1", {"command": "ls fridge"}), thinking="where is it")
    session.call(messages, asks)
    session.call([*messages, asks, session.result("c1", "eggs\n" * 100)], session.says("bought"))
    session.save(run)
    again = new_session("buy-t2", trial=2, verdict="infra")
    again.call(messages, None)
    again.save(run)
    run.patch("buy").parent.mkdir()
    run.patch("buy").write_bytes(PATCH)
    return run
