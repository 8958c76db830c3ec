"""The process that listens to the kernel for all workers of a controller: one stream of the machine, read once.

Workers connect to its unix socket and send JSON lines: `{"follow": NAME}`, answered by `{}` once the sandbox is
followed, and `{"finish": NAME}`, answered by its processes. It ends with its standard input, which its controller
holds.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pytest_agentcap.telemetry.netlink import NetlinkError, open_connector, open_taskstats, read_event, read_records
from pytest_agentcap.telemetry.proc import argv_of, running_in, sandbox_of
from pytest_agentcap.telemetry.table import ProcessTable

_DATAGRAM = 65536
# Waking for each event of the machine costs more than all else. Words of processes that live for less are missed.
_PAUSE_S = 0.002


@dataclass(slots=True)
class _Listener:
    """Read both streams into a table."""

    records: socket.socket
    events: socket.socket
    table: ProcessTable

    def drain(self) -> None:
        """Read all that has come.

        Records are taken before events and added after them: a process's fork is then known, however short it lived.
        """
        records = self._read(self.records)
        events = [event for data in self._read(self.events) if (event := read_event(data)) is not None]
        ended = {event.pid for event in events if event.what == "exit"}
        for event in events:
            self.table.add_event(event, ended)
        for data in records:
            for record in read_records(data):
                self.table.add_record(record)

    def _read(self, stream: socket.socket) -> list[bytes]:
        found: list[bytes] = []
        while True:
            try:
                found.append(stream.recv(_DATAGRAM))
            except BlockingIOError:
                return found
            except OSError:
                # ENOBUFS: the kernel had to drop some.
                self.table.note_loss()


@dataclass(slots=True)
class _Worker:
    """One worker's connection, and the sandboxes that it follows."""

    connection: socket.socket
    names: set[str] = field(default_factory=set)
    pending: bytes = b""

    def requests(self) -> list[dict[str, str]] | None:
        """Return the requests that have come; None when the worker is gone."""
        try:
            data = self.connection.recv(_DATAGRAM)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self.pending = (self.pending + data).split(b"\n")
        return [json.loads(line) for line in lines]


def serve(path: Path) -> None:
    """Listen to the kernel and serve workers on a unix socket until standard input ends.

    Raises NetlinkError.
    """
    records = open_taskstats()
    events = open_connector()
    listener = _Listener(records, events, ProcessTable(sandbox_of, argv_of))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door, selectors.DefaultSelector() as selector:
        door.bind(str(path))
        door.listen(512)
        print("ready", flush=True)
        for source, role in ((sys.stdin, "controller"), (records, "kernel"), (events, "kernel"), (door, "door")):
            selector.register(source, selectors.EVENT_READ, role)
        while True:
            ready = [key for key, _ in selector.select()]
            listener.drain()
            for key in ready:
                if key.data == "controller":
                    return
                if key.data == "door":
                    worker = _Worker(door.accept()[0])
                    selector.register(worker.connection, selectors.EVENT_READ, worker)
                elif isinstance(key.data, _Worker) and not _serve(key.data, listener):
                    selector.unregister(key.data.connection)
                    key.data.connection.close()
            if all(key.data == "kernel" for key in ready):
                time.sleep(_PAUSE_S)


def _serve(worker: _Worker, listener: _Listener) -> bool:
    """Answer what a worker asks; False when it is gone, and what it followed is forgotten."""
    requests = worker.requests()
    if requests is None:
        for name in worker.names:
            listener.table.forget(name)
        return False
    for request in requests:
        if "follow" in request:
            name = request["follow"]
            worker.names.add(name)
            listener.table.follow(name)
            listener.drain()
            listener.table.follow(name, running_in(name))
            answer: dict[str, object] = {}
        else:
            listener.drain()
            seen = listener.table.forget(request["finish"])
            worker.names.discard(request["finish"])
            answer = {"lost": seen.lost, "processes": [process.as_row() for process in seen.processes]}
        with suppress(OSError):
            worker.connection.sendall(json.dumps(answer).encode() + b"\n")
    return True


def main() -> int:
    # A terminal's Ctrl-C is for the controller, which ends this process when it has its figures.
    with suppress(OSError):
        os.setsid()
    try:
        serve(Path(sys.argv[1]))
    except (NetlinkError, OSError) as error:
        print(error, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
