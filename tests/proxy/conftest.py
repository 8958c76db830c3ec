"""An upstream that does exactly what a test says, an agent that shows exactly what it got, and the proxy between."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.client import CONNECT_TIMEOUT_S, KEEP_ALIVE_S, READ_TIMEOUT_S, open_transport
from pytest_agentcap.proxy.leases import Lease
from pytest_agentcap.proxy.ratelimit import RateLimit
from pytest_agentcap.proxy.server import CaptureProxy
from pytest_agentcap.proxy.transport_aiohttp import AiohttpTransport
from pytest_agentcap.proxy.transport_plain import PlainTransport
from pytest_agentcap.proxy.wire import Limits, Transport
from pytest_agentcap.runs.captures import Capture
from pytest_agentcap.runs.pairs import PairMaker

PATIENCE_S = 60.0
Pairs = list[tuple[str, str]]


@dataclass
class Visit:
    """One request as the upstream received it, and the connection to answer it on."""

    sock: socket.socket
    connection: int
    method: str
    target: str
    headers: Pairs
    body: bytes
    gone: threading.Event = field(default_factory=threading.Event)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def respond(self, status: int = 200, headers: Pairs | None = None, body: bytes = b"{}") -> None:
        self.start(status, [*(headers or []), ("content-length", str(len(body)))])
        self.send(body)

    def start(self, status: int = 200, headers: Pairs | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers or [])]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def start_stream(self) -> None:
        self.start(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def hang(self) -> None:
        """Wait until the other side closes the connection, which `gone` then tells."""
        self.sock.settimeout(PATIENCE_S)
        try:
            while self.sock.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        self.gone.set()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Not `close`, which waits for the reader that is still open on the socket.
        os.close(self.sock.detach())


class RawUpstream:
    """A model server on a loopback port: `answer` is called with each visit; it echoes until a test says otherwise."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.answer: Callable[[Visit], None] = lambda visit: visit.respond(body=visit.body)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._serving: list[tuple[socket.socket, threading.Thread]] = []
        self._numbers = itertools.count(1)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake up a thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connections that have been made so far and wait for the threads that serve them."""
        while self._serving:
            sock, thread = self._serving.pop()
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = next(self._numbers)
            thread = threading.Thread(target=self._serve, args=(sock, connection), daemon=True)
            thread.start()
            self._serving.append((sock, thread))

    def _serve(self, sock: socket.socket, connection: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with sock, sock.makefile("rb") as reader:
                while line := reader.readline():
                    method, target, _ = line.decode("latin-1").split(" ", 2)
                    headers = []
                    while header := reader.readline().strip():
                        name, _, value = header.decode("latin-1").partition(":")
                        headers.append((name, value.strip()))
                    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
                    visit = Visit(sock, connection, method, target, headers, reader.read(length))
                    self.visits.append(visit)
                    self.answer(visit)
        except OSError:
            # The proxy, or the test, has closed the connection under an answer.
            return


@dataclass
class Answer:
    """What an agent got; `broken` when the connection ended before the answer did."""

    status: int
    headers: Pairs
    body: bytes
    broken: bool = False

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@pytest.fixture
def read_answer() -> Callable[[http.client.HTTPResponse], Answer]:
    """Read an answer to its end, or to where it breaks off."""
    return _read_answer


def _read_answer(response: http.client.HTTPResponse) -> Answer:
    try:
        body, broken = response.read(), False
    except http.client.IncompleteRead as error:
        body, broken = error.partial, True
    except ConnectionError:
        body, broken = b"", True
    return Answer(response.status, response.getheaders(), body, broken)


@pytest.fixture
def hear() -> Callable[..., Answer]:
    """Read one answer from a connection that `dial` made; nothing may have come behind it yet."""
    return _hear


def _hear(sock: socket.socket, method: str = "POST") -> Answer:
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    return _read_answer(response)


class Agent:
    """A client of the proxy under one lease; what it sends goes out as it is given."""

    def __init__(self, address: tuple[str, int], lease: Lease, pairs: PairMaker) -> None:
        self.address, self.lease, self.pairs = address, lease, pairs

    def open(
        self,
        path: str = "/v1/chat/completions",
        body: bytes | None = b"{}",
        method: str = "POST",
        headers: Pairs | None = None,
        token: str | None = None,
    ) -> http.client.HTTPConnection:
        """Send a request and return its connection, on which `getresponse` reads the answer."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        connection.putrequest(method, f"/{token or self.lease.token}{path}", skip_accept_encoding=True)
        for name, value in headers or []:
            connection.putheader(name, value)
        if body is not None and not any(name.lower() == "content-length" for name, _ in headers or []):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        return connection

    def call(self, *args: Any, **options: Any) -> Answer:
        connection = self.open(*args, **options)
        try:
            return _read_answer(connection.getresponse())
        finally:
            connection.close()

    def dial(self, *pieces: bytes) -> socket.socket:
        """Open a connection and send bytes on it as they are, each piece by itself."""
        sock = socket.create_connection(self.address, PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        return sock

    def head(self, path: str = "/v1/chat/completions", *lines: str, method: str = "POST") -> bytes:
        """Return the head of a request under this lease, for `dial`."""
        target = f"/{self.lease.token}{path}"
        return "\r\n".join([f"{method} {target} HTTP/1.1", "host: h", *lines, "", ""]).encode("latin-1")


class Station:
    """A capture proxy between agents and an upstream, and the folder that it records into."""

    def __init__(
        self,
        folder: Path,
        upstream: Upstream,
        limit: RateLimit | None = None,
        transport: Callable[[str], Transport] = open_transport,
    ) -> None:
        self.captures = folder
        self.proxy = CaptureProxy(upstream, limit=limit, transport=transport)
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = listener.getsockname()
        self.endpoint = self.proxy.listen(listener)
        self.agents: list[Agent] = []

    def agent(self, session: str = "task-1", secrets: tuple[str, ...] = ()) -> Agent:
        pairs = PairMaker(self.captures / f"{session}.journal", self.captures, secrets)
        lease = self.proxy.grant(pairs.journal, {"task_id": session, "session": session})
        agent = Agent(self.address, lease, pairs)
        self.agents.append(agent)
        return agent

    def end(self, agent: Agent) -> list[Capture]:
        """End an agent's session and return its captures in the order of its calls."""
        self.proxy.revoke(agent.lease)
        agent.pairs.finish()
        self.agents.remove(agent)
        return [Capture(call.rid, self.captures) for call in agent.lease.calls]

    def close(self) -> None:
        for agent in list(self.agents):
            self.end(agent)
        self.endpoint.close()
        self.proxy.close()


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    server = RawUpstream()
    yield server
    server.close()


@pytest.fixture
def make_station(tmp_path: Path) -> Iterator[Callable[..., Station]]:
    made: list[Station] = []

    def make(url: str, api_key: str | None = None, limit: RateLimit | None = None) -> Station:
        folder = tmp_path / f"captures-{len(made)}"
        folder.mkdir()
        made.append(Station(folder, Upstream(url, api_key), limit))
        return made[-1]

    yield make
    for station in made:
        station.close()


@pytest.fixture
def station(make_station: Callable[..., Station], upstream: RawUpstream) -> Station:
    return make_station(upstream.url)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Station, RawUpstream]]:
    """One station and its upstream for many quick tests: to end an endpoint takes a tenth of a second."""
    server = RawUpstream()
    station = Station(tmp_path_factory.mktemp("captures"), Upstream(server.url))
    yield station, server
    station.close()
    server.close()


@pytest.fixture(scope="module", params=["plain", "aiohttp"])
def lasting_by_either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Station, RawUpstream]]:
    """The same by each of the transports that there are."""
    limits = Limits(CONNECT_TIMEOUT_S, READ_TIMEOUT_S, KEEP_ALIVE_S)
    made = {"plain": PlainTransport, "aiohttp": AiohttpTransport}[request.param]
    server = RawUpstream()
    folder = tmp_path_factory.mktemp("captures")
    station = Station(folder, Upstream(server.url), transport=lambda origin: made(origin, limits))
    yield station, server
    station.close()
    server.close()


@pytest.fixture
def agent(station: Station) -> Agent:
    return station.agent()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait until something holds; a minute is for a machine that is busy."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it never came to hold"
            time.sleep(0.01)

    return wait


@pytest.fixture
def refused_url() -> str:
    """Return the URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def everything_on_disk() -> Callable[[Path], bytes]:
    return lambda folder: b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture
def open_files() -> Callable[[], int]:
    return lambda: sum(1 for _ in Path("/dev/fd").iterdir())
