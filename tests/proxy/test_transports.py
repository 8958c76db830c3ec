"""What every transport must do, shown over real sockets; httpx's own, which none of ours is, is the yardstick."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvloop

from pytest_agentcap.proxy.client import open_transport
from pytest_agentcap.proxy.transport_aiohttp import AiohttpTransport
from pytest_agentcap.proxy.transport_plain import PlainTransport
from pytest_agentcap.proxy.wire import Limits, Outgoing, UpstreamFailure

PATIENCE_S = 60.0
LIMITS = Limits(connect_s=30.0, silence_s=30.0, keep_alive_s=30.0)
IMPATIENT = Limits(connect_s=0.4, silence_s=0.4, keep_alive_s=0.4)
MEGABYTE = 1 << 20


class HttpxTransport:
    """httpx's transport behind our interface."""

    def __init__(self, origin: str, limits: Limits) -> None:
        self._origin = origin
        silence = limits.silence_s
        self._timeout = {"connect": limits.connect_s, "read": silence, "write": silence, "pool": None}
        self._transport = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(keepalive_expiry=limits.keep_alive_s), trust_env=False
        )

    async def send(self, request, on_connected):
        async def trace(name, _info):
            if name == "http11.send_request_headers.started":
                on_connected()

        extensions = {"target": request.target, "timeout": self._timeout, "trace": trace}
        content = b"".join(request.body)
        outgoing = httpx.Request(
            request.method, self._origin, headers=request.headers, content=content, extensions=extensions
        )
        with as_failures():
            return HttpxReply(await self._transport.handle_async_request(outgoing))

    async def aclose(self):
        await self._transport.aclose()


class HttpxReply:
    def __init__(self, response):
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]
        self.at_end = False
        self._response = response
        self._pieces = response.aiter_raw()

    async def read(self):
        with as_failures():
            try:
                return await anext(self._pieces)
            except StopAsyncIteration:
                self.at_end = True
                return b""

    def close(self):
        self._closing = asyncio.ensure_future(self._response.aclose())


@contextlib.contextmanager
def as_failures():
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise UpstreamFailure("upstream_timeout", str(error)) from error
    except httpx.ConnectError as error:
        raise UpstreamFailure("upstream_refused", str(error)) from error
    except httpx.TimeoutException as error:
        raise UpstreamFailure("upstream_timeout", str(error)) from error
    except (httpx.ReadError, httpx.WriteError) as error:
        raise UpstreamFailure("upstream_reset", str(error)) from error
    except httpx.RemoteProtocolError as error:
        # httpx has one exception for an answer that breaks off and for one that is no HTTP.
        broke = "disconnected" in str(error) or "closed connection" in str(error)
        raise UpstreamFailure("upstream_reset" if broke else "bad_gateway", str(error)) from error


@dataclass
class Got:
    """An answer as it was read; `failure` is how it broke off."""

    status: int | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    failure: str | None = None
    connected: int = 0


async def fetch(transport, method="POST", target=b"/x", headers=(), body=(b"{}",)) -> Got:
    got = Got()

    def connected():
        got.connected += 1

    try:
        reply = await transport.send(Outgoing(method, target, list(headers), body), connected)
        got.status, got.headers = reply.status, reply.headers
        try:
            while not reply.at_end:
                got.body += await reply.read()
        finally:
            reply.close()
    except UpstreamFailure as failure:
        got.failure = failure.kind
    return got


@dataclass
class Client:
    """One kind of transport, and the event loop that it runs in."""

    name: str
    make: Callable[[str, Limits], Any]
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop

    def run(self, url: str, work: Callable[[Any], Awaitable[Any]], limits: Limits = LIMITS) -> Any:
        async def main():
            transport = self.make(url, limits)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await work(transport)
            finally:
                await transport.aclose()

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(main())

    def fetch(self, url: str, limits: Limits = LIMITS, **request: Any) -> Got:
        return self.run(url, lambda transport: fetch(transport, **request), limits)


CLIENTS = {
    client.name: client
    for client in (
        Client("plain", PlainTransport),
        Client("plain on asyncio", PlainTransport, asyncio.new_event_loop),
        Client("aiohttp", AiohttpTransport),
        Client("httpx", HttpxTransport),
    )
}


# What the others do not do; ours does all of it.
LACKS = {
    "aiohttp": (
        "test_a_server_that_takes_no_more_of_a_request_times_out",
        "test_what_arrives_on_an_idle_connection_answers_no_later_call",
    ),
    "httpx": (
        "test_what_arrives_on_an_idle_connection_answers_no_later_call",
        "test_more_than_an_answer_is_no_part_of_it_and_spoils_the_connection",
        "test_a_server_may_answer_before_it_has_the_request",
        "test_a_chunk_that_is_none_is_a_bad_gateway_after_what_has_come",
    ),
}


@pytest.fixture(params=CLIENTS)
def client(request) -> Client:
    if request.function.__name__ in LACKS.get(request.param, ()):
        request.applymarker(pytest.mark.xfail(strict=False, reason=f"{request.param} does not do this"))
    return CLIENTS[request.param]


@pytest.fixture
def ours(client):
    if client.name == "httpx":
        pytest.skip("httpx does not do this")
    return client


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve connections by hand: each is given to `act`, with its number from 1 on, in a thread of its own."""
    listeners: list[socket.socket] = []
    faults: list[BaseException] = []

    def start(act, host="127.0.0.1"):
        listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        listeners.append(listener)

        def run(sock, number):
            sock.settimeout(PATIENCE_S)
            try:
                with sock:
                    act(sock, number)
            except OSError:
                # The client has gone, which many tests want.
                return
            except BaseException as error:
                faults.append(error)

        def accept():
            number = 0
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                number += 1
                threading.Thread(target=run, args=(sock, number), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    assert not faults


def read_head(sock) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        if not piece:
            raise ConnectionError
        head += piece
    return head


def read_request(sock) -> bytes:
    """Read a request with a two-byte body, or without one."""
    head = read_head(sock)
    return head + (sock.recv(2) if b"content-length: 2" in head.lower() else b"")


def wait_for_end(sock) -> None:
    while sock.recv(1 << 16):
        pass


def reset(sock) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def answering(data: bytes, then: Callable[[socket.socket], None] = wait_for_end):
    def act(sock, _number):
        read_request(sock)
        sock.sendall(data)
        then(sock)

    return act


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


# What goes out.


def test_a_request_goes_out_as_it_was_given(client, upstream):
    headers = [(b"x-twice", b"1"), (b"accept", b"a/b"), (b"x-twice", "café".encode()), (b"x-empty", b"")]
    got = client.fetch(upstream.url, target=b"/v1/a%zz?q=<{|}>'&&", headers=headers, body=(b"ab", b"\x00\xff"))

    [visit] = upstream.visits
    assert (visit.method, visit.target, visit.body) == ("POST", "/v1/a%zz?q=<{|}>'&&", b"ab\x00\xff")
    expected = [*headers, (b"host", upstream.url.removeprefix("http://").encode()), (b"content-length", b"4")]
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in visit.headers]
    assert sorted(sent) == sorted(expected)
    assert [value for name, value in sent if name == b"x-twice"] == [b"1", "café".encode()]
    assert got.body == b"ab\x00\xff"


@pytest.mark.parametrize(("method", "length"), [("POST", ["0"]), ("PUT", ["0"]), ("GET", []), ("HEAD", [])])
def test_a_request_without_a_body_says_so_where_one_is_expected(client, upstream, method, length):
    client.fetch(upstream.url, method=method, body=())
    assert upstream.visits[0].method == method
    assert upstream.visits[0].values("content-length") == length
    assert upstream.visits[0].values("transfer-encoding") == []


def test_a_long_body_arrives_whole(client, upstream):
    pieces = [bytes([number]) * 300_001 for number in range(60)]
    upstream.answer = lambda visit: visit.respond(body=b"%d" % len(visit.body))
    assert client.fetch(upstream.url, body=pieces).body == b"%d" % (60 * 300_001)
    assert upstream.visits[0].body == b"".join(pieces)


def test_a_line_break_in_a_header_is_refused(client, upstream):
    with contextlib.suppress(ValueError, httpx.LocalProtocolError):
        assert client.fetch(upstream.url, headers=[(b"x", b"1\r\ny: 2")]).failure
    assert all("y" not in dict(visit.headers) for visit in upstream.visits)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_names_and_both_families_of_addresses_are_reached(client, serve, host):
    if host == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 here")
    heads = []

    def act(sock, _number):
        heads.append(read_request(sock))
        sock.sendall(OK)

    url = serve(act, "127.0.0.1" if host == "localhost" else host).replace("127.0.0.1", host)
    assert client.fetch(url).body == b"ok"
    assert f"\r\nhost: {url.removeprefix('http://')}\r\n".encode() in heads[0].lower()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


# What comes back.


def test_status_and_headers_come_as_they_were_sent(client, upstream):
    sent = [("X-Twice", "1"), ("set-cookie", "a=1"), ("x-twice", "2"), ("Set-Cookie", "b=2"), ("x-empty", "")]
    upstream.answer = lambda visit: visit.respond(418, sent, b"teapot")
    got = client.fetch(upstream.url)
    assert (got.status, got.body) == (418, b"teapot")
    assert got.headers == [(n.lower().encode(), v.encode()) for n, v in sent] + [(b"content-length", b"6")]


def test_a_body_whose_length_was_told_is_at_its_end_with_its_last_byte(ours, upstream):
    async def work(transport):
        reply = await transport.send(Outgoing("POST", b"/", [], (b"{}",)), lambda: None)
        body = b""
        while len(body) < 500_000:
            assert not reply.at_end
            body += await reply.read()
        assert reply.at_end
        reply.close()

    upstream.answer = lambda visit: visit.respond(body=b"x" * 500_000)
    ours.run(upstream.url, work)


def test_a_chunked_body_comes_without_its_framing(client, serve):
    data = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nx-trailer: 1\r\n\r\n"

    def act(sock, _number):
        read_request(sock)
        for number in range(len(data)):
            sock.sendall(data[number : number + 1])
        read_request(sock)
        sock.sendall(OK)

    async def work(transport):
        first, second = await fetch(transport), await fetch(transport)
        assert (first.body, first.failure, second.body) == (b"abcd", None, b"ok")
        assert b"x-trailer" not in dict(first.headers)

    client.run(serve(act), work)


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("POST", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("POST", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ],
)
def test_an_answer_that_has_no_body_is_over_with_its_head(client, serve, method, head):
    got = client.fetch(serve(answering(head)), method=method, body=())
    assert (got.status, got.body, got.failure) == (int(head[9:12]), b"", None)


def test_informational_answers_are_skipped(client, serve):
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    got = client.fetch(serve(answering(early + OK)))
    assert (got.status, got.body, got.headers) == (200, b"ok", [(b"content-length", b"2")])


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_without_a_length_ends_with_its_connection(client, serve, version):
    data = b"HTTP/" + version + b" 200 OK\r\n\r\n" + b"x" * 100_000
    got = client.fetch(serve(answering(data, then=lambda sock: None)))
    assert (len(got.body), got.failure) == (100_000, None)


def test_lines_may_end_in_a_line_feed_alone(client, serve):
    assert client.fetch(serve(answering(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"))).body == b"ok"


def test_an_answer_comes_piece_by_piece(client, serve):
    go_on = threading.Semaphore(0)

    def act(sock, _number):
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(5):
            assert go_on.acquire(timeout=PATIENCE_S)
            sock.sendall(b"3\r\n<%d>\r\n" % number)
        sock.sendall(b"0\r\n\r\n")

    async def work(transport):
        reply = await transport.send(Outgoing("POST", b"/", [], ()), lambda: None)
        for number in range(5):
            go_on.release()
            assert await reply.read() == b"<%d>" % number
        assert await reply.read() == b""
        assert reply.at_end
        reply.close()

    client.run(serve(act), work)


# Connections.


def test_a_connection_serves_one_call_after_another_and_many_serve_many(client, upstream):
    async def work(transport):
        for _ in range(3):
            assert (await fetch(transport)).connected == 1
        assert {visit.connection for visit in upstream.visits} == {1}
        bodies = [b"%d" % number for number in range(64)]
        for _ in range(3):
            answers = await asyncio.gather(*(fetch(transport, body=(body,)) for body in bodies))
            assert [got.body for got in answers] == bodies

    client.run(upstream.url, work)
    assert len({visit.connection for visit in upstream.visits}) <= 65


@pytest.mark.parametrize(
    "data",
    [OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"],
)
def test_a_connection_that_its_server_ends_is_not_used_again(client, serve, data):
    numbers = []

    def act(sock, number):
        read_request(sock)
        numbers.append(number)
        sock.sendall(data)
        wait_for_end(sock)

    async def work(transport):
        assert [(await fetch(transport)).body for _ in range(2)] == [b"ok", b"ok"]

    client.run(serve(act), work)
    assert numbers == [1, 2]


def test_a_kept_connection_that_was_closed_is_not_used_even_before_the_loop_has_noticed(client, upstream):
    async def work(transport):
        await fetch(transport)
        upstream.visits[0].sock.shutdown(socket.SHUT_RDWR)
        # The event loop has had no turn since.
        again = await fetch(transport)
        assert (again.status, again.failure) == (200, None)

    client.run(upstream.url, work)
    assert [visit.connection for visit in upstream.visits] == [1, 2]


@pytest.mark.parametrize(("method", "repeated"), [("GET", True), ("POST", False)])
@pytest.mark.parametrize("end", [lambda sock: None, reset], ids=["closed", "reset"])
def test_a_call_that_meets_a_closing_connection_is_repeated_only_if_it_may_be(client, serve, method, repeated, end):
    seen = []

    def act(sock, number):
        seen.append((number, read_request(sock)[:4]))
        sock.sendall(OK)
        if number == 1:
            seen.append((number, read_request(sock)[:4]))
            end(sock)

    async def work(transport):
        return [await fetch(transport, method=method, body=()) for _ in range(2)][1]

    got = client.run(serve(act), work)
    if repeated and client.name != "httpx":
        assert (got.body, [number for number, _ in seen]) == (b"ok", [1, 1, 2])
    else:
        assert (got.status, got.failure, [number for number, _ in seen]) == (None, "upstream_reset", [1, 1])


def test_a_call_on_a_new_connection_is_not_repeated(client, serve):
    seen = []
    got = client.fetch(serve(lambda sock, number: seen.append(read_request(sock))))
    assert (got.failure, len(seen)) == ("upstream_reset", 1)


def test_what_arrives_on_an_idle_connection_answers_no_later_call(client, serve):
    stray = threading.Event()

    def act(sock, number):
        read_request(sock)
        sock.sendall(OK)
        if number == 1:
            sock.sendall(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
            stray.set()
        wait_for_end(sock)

    async def work(transport):
        first = await fetch(transport)
        await asyncio.to_thread(stray.wait, PATIENCE_S)
        await asyncio.sleep(0.05)
        return first.status, (await fetch(transport)).status

    assert client.run(serve(act), work) == (200, 200)


def test_more_than_an_answer_is_no_part_of_it_and_spoils_the_connection(client, serve):
    def act(sock, number):
        read_request(sock)
        sock.sendall(OK + (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n" if number == 1 else b""))
        wait_for_end(sock)

    async def work(transport):
        return [await fetch(transport) for _ in range(2)]

    assert [(got.status, got.body) for got in client.run(serve(act), work)] == [(200, b"ok")] * 2


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(client, upstream):
    async def work(transport):
        await fetch(transport)
        await asyncio.sleep(3 * IMPATIENT.keep_alive_s)
        await fetch(transport)

    client.run(upstream.url, work, IMPATIENT)
    assert [visit.connection for visit in upstream.visits] == [1, 2]


def test_an_answer_that_is_dropped_takes_its_connection_with_it(client, upstream):
    def answer(visit):
        visit.start_stream()
        visit.chunk(b"1")
        visit.hang()

    async def work(transport):
        reply = await transport.send(Outgoing("POST", b"/", [], ()), lambda: None)
        assert await reply.read() == b"1"
        reply.close()
        assert await asyncio.to_thread(upstream.visits[0].gone.wait, PATIENCE_S)

    upstream.answer = answer
    client.run(upstream.url, work)


def test_a_closed_transport_leaves_no_connection(client, serve):
    ended = threading.Semaphore(0)

    def act(sock, _number):
        read_request(sock)
        sock.sendall(OK)
        wait_for_end(sock)
        ended.release()

    async def work(transport):
        await asyncio.gather(*(fetch(transport) for _ in range(3)))

    client.run(serve(act), work)
    assert ended.acquire(timeout=PATIENCE_S)


# What goes wrong.


def test_a_port_that_nobody_listens_on_refuses(client, refused_url):
    assert client.fetch(refused_url) == Got(failure="upstream_refused")


def test_a_name_that_nobody_has_refuses(client):
    assert client.fetch("http://nobody.invalid:1").failure == "upstream_refused"


def test_a_connection_that_is_not_accepted_times_out(client):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # Once its queue is full, a listener that does not accept takes no notice of anybody.
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        got = client.fetch(f"http://127.0.0.1:{listener.getsockname()[1]}", IMPATIENT)
    assert got == Got(failure="upstream_timeout")


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (b"", None),
        (HEAD + b"x: ", None),
        (HEAD + b"content-length: 9\r\n\r\nabc", b"abc"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"abc"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n9\r\nabc", b"abc"),
    ],
    ids=["no answer", "half a head", "half a body", "between chunks", "half a chunk"],
)
@pytest.mark.parametrize(
    ("end", "kind"),
    [(lambda sock: None, "upstream_reset"), (reset, "upstream_reset"), (wait_for_end, "upstream_timeout")],
    ids=["closed", "reset", "silent"],
)
def test_an_answer_that_breaks_off_fails_after_what_has_come(client, serve, sent, body, end, kind):
    arrived = threading.Event()

    def act(sock, _number):
        read_request(sock)
        sock.sendall(sent)
        if body is not None and not arrived.wait(PATIENCE_S):
            raise AssertionError("the body did not come")
        end(sock)

    async def work(transport):
        got = Got()
        try:
            reply = await transport.send(Outgoing("POST", b"/", [], (b"{}",)), lambda: None)
            got.status = reply.status
            try:
                while True:
                    got.body += await reply.read()
                    if got.body:
                        arrived.set()
            finally:
                reply.close()
        except UpstreamFailure as failure:
            got.failure = failure.kind
        return got

    limits = IMPATIENT if kind == "upstream_timeout" else LIMITS
    got = client.run(serve(act), work, limits)
    assert (got.status, got.body, got.failure) == (None if body is None else 200, body or b"", kind)


def test_a_body_without_a_length_that_is_reset_is_not_complete(client, serve):
    arrived = threading.Event()

    def act(sock, _number):
        read_request(sock)
        sock.sendall(HEAD + b"\r\nabc")
        arrived.wait(PATIENCE_S)
        reset(sock)

    async def work(transport):
        reply = await transport.send(Outgoing("POST", b"/", [], (b"{}",)), lambda: None)
        assert await reply.read() == b"abc"
        arrived.set()
        with pytest.raises(UpstreamFailure) as raised:
            await reply.read()
        reply.close()
        return raised.value.kind

    assert client.run(serve(act), work) == "upstream_reset"


def test_who_is_slow_but_moves_does_not_time_out(client, serve):
    def act(sock, _number):
        read_request(sock)
        for byte in HEAD + b"content-length: 3\r\n\r\n":
            sock.sendall(bytes([byte]))
            time.sleep(IMPATIENT.silence_s / 40)
        for _ in range(3):
            time.sleep(IMPATIENT.silence_s / 2)
            sock.sendall(b"x")

    got = client.fetch(serve(act), IMPATIENT)
    assert (got.body, got.failure) == (b"xxx", None)


def test_a_server_that_takes_no_more_of_a_request_times_out(client, serve):
    def act(sock, _number):
        read_head(sock)
        time.sleep(2)

    got = client.fetch(serve(act), IMPATIENT, body=(b"x" * MEGABYTE,) * 32)
    assert got.failure == "upstream_timeout"


def test_an_agent_that_is_slow_to_read_is_no_silence_of_the_upstream(client, serve):
    def act(sock, _number):
        read_request(sock)
        sock.sendall(HEAD + b"content-length: %d\r\n\r\n" % (16 * MEGABYTE))
        for _ in range(16):
            sock.sendall(b"x" * MEGABYTE)

    async def work(transport):
        reply = await transport.send(Outgoing("POST", b"/", [], (b"{}",)), lambda: None)
        length = 0
        while not reply.at_end:
            if not length:
                await asyncio.sleep(3 * IMPATIENT.silence_s)
            length += len(await reply.read())
        reply.close()
        return length

    assert client.run(serve(act), work, IMPATIENT) == 16 * MEGABYTE


def test_an_upstream_is_read_no_faster_than_its_answer_is_taken(client, serve):
    sent = []

    def act(sock, _number):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        read_request(sock)
        sock.sendall(HEAD + b"content-length: %d\r\n\r\n" % (64 * MEGABYTE))
        for _ in range(64):
            sock.sendall(b"x" * MEGABYTE)
            sent.append(1)

    async def work(transport):
        reply = await transport.send(Outgoing("POST", b"/", [], (b"{}",)), lambda: None)
        before = -1
        while len(sent) != before:
            before = len(sent)
            await asyncio.sleep(0.3)
        held_back = len(sent)
        length = 0
        while not reply.at_end:
            length += len(await reply.read())
        reply.close()
        return held_back, length

    held_back, length = client.run(serve(act), work)
    assert held_back < 16
    assert length == 64 * MEGABYTE


MALFORMED = {
    "not HTTP": b"SMTP ready\r\n\r\n",
    "no version": b"HTTP/ 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "a header without colon": HEAD + b"nonsense\r\n\r\n",
    "a blank in a header's name": HEAD + b"x y: 1\r\n\r\n",
    "NUL in a header": HEAD + b"x: a\x00b\r\n\r\n",
    "a length that is none": HEAD + b"content-length: two\r\n\r\nok",
    "a negative length": HEAD + b"content-length: -2\r\n\r\nok",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "an unknown transfer coding": HEAD + b"transfer-encoding: gzip\r\n\r\nok",
    "a head without end": HEAD + b"x: " + b"y" * 300_000,
    "headers without end": HEAD + b"x: y\r\n" * 60_000,
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_an_answer_whose_head_is_no_http_is_a_bad_gateway(client, serve, sent):
    got = client.fetch(serve(answering(sent)), Limits(30.0, 5.0, 30.0))
    assert got == Got(failure="bad_gateway", connected=1)


def test_both_a_length_and_chunks_are_a_bad_gateway_or_chunks(client, serve):
    both = b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    got = client.fetch(serve(answering(HEAD + both)))
    # RFC 9112 section 6.3 allows either; a length that is believed would let one answer pass for two.
    assert (got.status, got.body, got.failure) in [(None, b"", "bad_gateway"), (200, b"ok", None)]


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"3\r\nabcdef\r\n"])
def test_a_chunk_that_is_none_is_a_bad_gateway_after_what_has_come(client, serve, chunk):
    arrived = threading.Event()

    def act(sock, _number):
        read_request(sock)
        sock.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n<\r\n")
        arrived.wait(PATIENCE_S)
        sock.sendall(chunk)
        wait_for_end(sock)

    async def work(transport):
        reply = await transport.send(Outgoing("POST", b"/", [], (b"{}",)), lambda: None)
        body = await reply.read()
        arrived.set()
        try:
            while True:
                body += await reply.read()
        except UpstreamFailure as failure:
            return body, failure.kind
        finally:
            reply.close()

    body, kind = client.run(serve(act), work, Limits(30.0, 2.0, 30.0))
    assert (body[:1], kind) == (b"<", "bad_gateway")


# Early answers.


@pytest.mark.parametrize("drain", [False, True], ids=["and closes", "and reads on"])
def test_a_server_may_answer_before_it_has_the_request(client, serve, drain):
    def act(sock, _number):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
        if drain:
            wait_for_end(sock)

    got = client.fetch(serve(act), body=(b"x" * MEGABYTE,) * 8)
    assert (got.status, got.body, got.failure) == (413, b"big", None)


def test_a_connection_whose_request_was_not_read_to_its_end_is_not_used_again(client, serve):
    numbers = []

    def act(sock, number):
        numbers.append(number)
        read_head(sock)
        sock.sendall(OK)
        time.sleep(1)
        wait_for_end(sock)

    async def work(transport):
        return [(await fetch(transport, body=body)).body for body in ((b"x" * MEGABYTE,) * 32, (b"{}",))]

    assert CLIENTS["plain"].run(serve(act), work) == [b"ok", b"ok"]
    assert numbers == [1, 2]


def test_an_answer_streams_while_its_request_is_written(ours, serve):
    def act(sock, _number):
        read_head(sock)
        sock.sendall(HEAD + b"content-length: %d\r\n\r\n" % (8 * MEGABYTE))
        left = 8 * MEGABYTE
        while left:
            piece = sock.recv(1 << 16)
            left -= len(piece)
            sock.sendall(piece)

    got = ours.fetch(serve(act), body=[bytes([number]) * MEGABYTE for number in range(8)])
    assert got.body == b"".join(bytes([number]) * MEGABYTE for number in range(8))


# Cancelling.


@pytest.mark.parametrize("when", ["writing", "waiting", "reading"])
def test_a_cancelled_call_closes_its_connection_at_once(client, serve, when):
    there, gone = threading.Event(), threading.Event()

    def act(sock, _number):
        read_head(sock)
        if when == "reading":
            sock.sendall(HEAD + b"content-length: 9\r\n\r\nabc")
        there.set()
        if when == "writing":
            # Not a byte more is read before the client gives up, so that it cannot have written all.
            gave_up.wait(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            wait_for_end(sock)
        gone.set()

    async def work(transport):
        body = (b"x" * MEGABYTE,) * 32 if when == "writing" else (b"{}",)
        call = asyncio.ensure_future(fetch(transport, body=body))
        assert await asyncio.to_thread(there.wait, PATIENCE_S)
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gave_up.set()
        assert await asyncio.to_thread(gone.wait, PATIENCE_S)

    gave_up = threading.Event()
    client.run(serve(act), work)


# Which transport.


def test_plain_http_is_spoken_by_our_own_transport_and_https_by_aiohttp():
    async def kinds():
        transports = [open_transport("http://h"), open_transport("https://h")]
        for transport in transports:
            await transport.aclose()
        return [type(transport) for transport in transports]

    assert asyncio.run(kinds()) == [PlainTransport, AiohttpTransport]
