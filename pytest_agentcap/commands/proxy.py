"""`agentcap proxy`: the capture proxy on its own, for any client."""

from __future__ import annotations

import argparse
import contextlib
import queue
import signal
import sys
import threading
import time
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call

_POLL_S = 0.2
_LAST_PORT = 65535


def add(commands: Commands) -> None:
    parser = commands.add_parser("proxy", help="run the capture proxy on its own")
    parser.add_argument("--upstream", required=True, metavar="URL", help="the model server")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=0, help="port to listen on (default: any that is free)")
    parser.add_argument("--captures", type=Path, metavar="DIR", help="where pairs go (default: a new run directory)")
    parser.add_argument("--api-key", metavar="K", help="the upstream's key (environment: AGENTCAP_API_KEY)")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--lease", metavar="TOKEN", help="the path's first part that clients must know (default: made up)")
    who.add_argument("--no-lease", action="store_true", help="plain paths, for everyone on this machine")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.credentials import find_key, known_secrets
    from pytest_agentcap.option_values import BASE_URL, is_base_url, shown_url
    from pytest_agentcap.proxy.apis import Upstream
    from pytest_agentcap.proxy.leases import new_token
    from pytest_agentcap.proxy.ratelimit import RateLimit
    from pytest_agentcap.proxy.standalone import StandaloneProxy, open_listener
    from pytest_agentcap.sandbox.reaper import state_root

    if args.no_lease and not _is_loopback(args.host):
        raise ValueError("--no-lease: lets everyone use the upstream's key, so only on a loopback --host")
    if args.lease is not None and not (args.lease.isascii() and args.lease.isalnum()):
        raise ValueError("--lease: only ASCII letters and digits")
    if not is_base_url(args.upstream):
        raise ValueError(f"--upstream {shown_url(args.upstream)}: give {BASE_URL}, such as http://127.0.0.1:8080")
    upstream = args.upstream.rstrip("/")
    key = find_key(upstream, args.api_key)
    token = None if args.no_lease else args.lease or new_token()
    listener = open_listener(args.host, args.port)
    captures = _captures(args.captures, upstream)
    ended: queue.SimpleQueue[Call] = queue.SimpleQueue()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    base = Upstream(upstream, key.value if key else None)
    with (
        contextlib.closing(RateLimit.of(base, state_root())) as limit,
        StandaloneProxy(base, listener, captures, token, ended.put, known_secrets(key), limit=limit) as proxy,
    ):
        host = f"[{args.host}]" if ":" in args.host else args.host
        write(f"http://{host}:{proxy.port}{f'/{token}' if token else ''}/v1")
        sys.stdout.flush()
        complain(f"captures go to {captures}; end with Ctrl-C")
        counts = _show(ended, stop)
    counts += _show(ended, stop)
    told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.most_common())
    complain(f"{counts.total()} calls{f' ({told})' if told else ''}; captures in {captures}")
    return 0


def _show(ended: queue.SimpleQueue[Call], stop: threading.Event) -> Counter[str]:
    """Print a line for each call that ends, until it is time to stop and none is left; count them by how they ended.

    Not where calls end: who does not read our output must not hold up the proxy. And several times a second, not call
    by call: this thread runs only while the proxy's does not.
    """
    counts: Counter[str] = Counter()
    while True:
        stopping = stop.wait(_POLL_S)
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                call = ended.get_nowait()
                counts["complete" if call.error is None else call.error] += 1
                lines.append(_line(call))
        if lines:
            write("\n".join(lines))
        if stopping:
            return counts


def _line(call: Call) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(call.started_at_ns / 1e9))
    status = "-" if call.status is None else call.status
    return f"{clock}  {call.api:<11}  {status:>3}  {call.duration_ms or 0:>9.1f} ms  {call.rid}  {call.error or ''}"


def _captures(folder: Path | None, upstream: str) -> Path:
    from pytest_agentcap.runs.layout import create_run, workspace_folder
    from pytest_agentcap.runs.provider import provider_of

    if folder is None:
        return create_run(workspace_folder(), "proxy", provider_of(upstream, "")).captures
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to {_LAST_PORT}")
    return int(text)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
