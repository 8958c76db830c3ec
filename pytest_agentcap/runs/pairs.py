"""From a session's journal to its pair files, while the session runs and after a crash alike."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pytest_agentcap.runs.decoding import decode_body
from pytest_agentcap.runs.frames import CHUNK, REQUEST, RESPONSE, SESSION, Frame, read_body, read_frames
from pytest_agentcap.runs.layout import remove_torn, write_private
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.packing import Unpacker
from pytest_agentcap.runs.verbatim import embed_body, embed_stream

_SERVED_MODEL = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.){1,200})"')
# What of a frame's head agents and upstreams write; keys travel in query strings and headers too.
_FOREIGN = frozenset({"path", "query", "upstream_url", "request_headers", "response_headers"})
_FINGERPRINT = {"server": "server", "x_served_by": "x-served-by", "via": "via", "build_info": "x-build-info"}


@dataclass(slots=True)
class PairMaker:
    """Write the pair files of one journal, each as soon as its frame is whole.

    `advance` may be called from any thread and as often as one likes; each frame is handled once. With `keep`, files
    that are there stay as they are: who wrote them may have known more secrets.
    """

    journal: Path
    captures: Path
    secrets: tuple[str, ...] = ()
    keep: bool = False
    _offset: int = 0
    _unpacker: Unpacker = field(default_factory=Unpacker)
    _mask: Mask = field(default_factory=Mask)
    _session: dict[str, Any] = field(default_factory=dict)
    _early: dict[str, list[Frame]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def advance(self) -> None:
        """Handle what has come since the last call.

        Raises OSError when a file cannot be written; the frame is then tried again at the next call.
        """
        with self._lock, self.journal.open("rb") as file:
            for frame in read_frames(file, self._offset, self._unpacker):
                self._handle(frame, file)
                self._offset = frame.end

    def finish(self) -> None:
        """Handle the rest and delete the journal; a response whose end is not in it is kept as `shutdown`.

        Raises OSError when a file cannot be written, FileNotFoundError when another reader has finished before.
        """
        self.advance()
        with self._lock, self.journal.open("rb") as file:
            ended_at_ns = os.fstat(file.fileno()).st_mtime_ns
            for chunks in self._early.values():
                told = {**chunks[0].head, "ended_at_ns": ended_at_ns, "complete": False, "error": "shutdown"}
                self._write_response(told, b"".join(read_body(file, chunk) for chunk in chunks))
        self.journal.unlink()

    def _handle(self, frame: Frame, file: BinaryIO) -> None:
        if frame.kind == SESSION:
            self._session = dict(frame.head)
            self._mask = Mask.of(self.secrets, self._session.pop("lease", None))
        elif frame.kind == REQUEST:
            self._write_request(frame)
        elif frame.kind == CHUNK:
            self._early.setdefault(frame.head["request_id"], []).append(frame)
        elif frame.kind == RESPONSE:
            chunks = self._early.get(frame.head["request_id"], [])
            self._write_response(frame.head, b"".join([*(read_body(file, chunk) for chunk in chunks), frame.body]))
            self._early.pop(frame.head["request_id"], None)

    def _write_request(self, frame: Frame) -> None:
        if self._is_kept(frame.head, "request"):
            return
        call, hits = self._mask.apply_to(frame.head, _FOREIGN)
        encoding = _headers(call["request_headers"]).get("content-encoding", "")
        body, intact, _ = decode_body(frame.body, encoding, True, None)
        body, redacted = self._mask.apply(body)
        head = {
            "request_id": call["request_id"],
            "captured_at": call["started_at_ns"] // 1_000_000_000,
            "upstream_url": call["upstream_url"],
            "task_id": self._session["task_id"],
            "turn": call["turn"],
            **{key: value for key, value in self._session.items() if key != "task_id"},
            **{key: value for key, value in call.items() if key not in ("request_id", "upstream_url", "turn")},
            **({} if intact else {"undecoded": encoding}),
            "redacted": redacted + hits,
        }
        self._write(call["request_id"], "request", embed_body(head, body))

    def _write_response(self, frame_head: dict[str, Any], wire: bytes) -> None:
        if self._is_kept(frame_head, "response"):
            return
        call, hits = self._mask.apply_to(frame_head, _FOREIGN)
        headers = _headers(call["response_headers"])
        pieces = call.get("chunk_bytes")
        body, intact, pieces = decode_body(wire, headers.get("content-encoding", ""), call["complete"], pieces)
        body, redacted = self._mask.apply(body)
        stream = headers.get("content-type", "").startswith("text/event-stream")
        head = {
            "request_id": call["request_id"],
            "captured_at_resp": call["ended_at_ns"] // 1_000_000_000,
            "stream": stream,
            "status_code": call["status_code"],
            "upstream_fingerprint": _fingerprint(headers, body),
            **{key: value for key, value in call.items() if key not in ("request_id", "status_code")},
            **({} if intact else {"undecoded": headers["content-encoding"]}),
            # Placeholders have another length than what they stand for.
            **({} if pieces is None else {"chunk_bytes": None if redacted else pieces}),
            "redacted": redacted + hits,
        }
        data = embed_stream(head, body) if stream else embed_body(head, body)
        self._write(call["request_id"], "response", data)

    def _is_kept(self, head: dict[str, Any], half: str) -> bool:
        return self.keep and self._path(head["request_id"], half).exists()

    def _write(self, rid: str, half: str, data: bytes) -> None:
        write_private(self._path(rid, half), data, replace=not self.keep)

    def _path(self, rid: str, half: str) -> Path:
        return self.captures / f"{rid}.{half}.json"


def _headers(pairs: list[list[str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs}


def _fingerprint(headers: dict[str, str], body: bytes) -> dict[str, str]:
    """Collect what tells which server and model answered, under agentcap's names."""
    found = {key: headers[name] for key, name in _FINGERPRINT.items() if name in headers}
    model = _SERVED_MODEL.search(body[:65536])
    if model:
        found["served_model"] = model[1].decode("utf-8", "replace")
    return found


def finish_journals(captures: Path, secrets: tuple[str, ...] = ()) -> list[str]:
    """Make the pairs of every journal that is left in a run; return the names of the sessions it was done for.

    A journal whose writer is alive, which its lock tells, is left to it: its later calls would be lost, and only its
    writer knows all that is to be masked.
    """
    done, alive = [], False
    for journal in sorted(captures.glob("*.journal")):
        try:
            with _locked(journal) as abandoned:
                if abandoned:
                    PairMaker(journal, captures, secrets, keep=True).finish()
                    done.append(journal.name.removesuffix(".journal"))
                else:
                    alive = True
        except FileNotFoundError:
            # Its session, or another reader, has finished it since it was listed.
            if journal.exists():
                raise
    if not alive:
        remove_torn(captures)
    return done


@contextlib.contextmanager
def _locked(journal: Path) -> Iterator[bool]:
    """Hold a journal's lock and yield True, or False when its writer, who is alive, has it."""
    with journal.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
