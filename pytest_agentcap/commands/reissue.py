"""`agentcap reissue`: how another model would have answered, call by call."""

from __future__ import annotations

import argparse
import threading
from collections import Counter
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write
from pytest_agentcap.runs.layout import RunDirectory, create_run, workspace_folder

if TYPE_CHECKING:
    from pytest_agentcap.credentials import Key
    from pytest_agentcap.proxy.leases import Call
    from pytest_agentcap.replay.recording import RecordedSession


def add(commands: Commands) -> None:
    parser = commands.add_parser("reissue", help="send recorded requests to another model, into a new run")
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="a run, a rid or its first digits (4+), a captures parquet, or a dataset (hf://…)",
    )
    parser.add_argument("--upstream", required=True, metavar="URL", help="the model server, or 'scripted'")
    parser.add_argument("--model", required=True, metavar="ID", help="the model that is asked instead")
    parser.add_argument("--api-key", metavar="K", help="the upstream's key (environment: AGENTCAP_API_KEY)")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="sessions at the same time (default 4)")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.credentials import find_key
    from pytest_agentcap.option_values import BASE_URL, SCRIPTED, is_base_url, model_id, shown_url

    if args.upstream != SCRIPTED and not is_base_url(args.upstream):
        raise ValueError(f"--upstream {shown_url(args.upstream)}: give {BASE_URL}, or 'scripted'")
    if args.at_once < 1:
        raise ValueError("--at-once: give a number from 1 on")
    try:
        model_id(args.model)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--model: {error}") from error
    upstream = args.upstream.rstrip("/")
    by_agent: dict[str, list[RecordedSession]] = {}
    for session in _sessions(args.target):
        by_agent.setdefault(session.agent or "unknown", []).append(session)
    key = find_key(upstream, args.api_key)
    return max(_reissue(args, agent, sessions, upstream, key) for agent, sessions in by_agent.items())


def _sessions(target: str) -> list[RecordedSession]:
    """Return what a target names; of a call its session with that call alone."""
    from pytest_agentcap.replay.recording import open_recording
    from pytest_agentcap.replay.reissue import only_call
    from pytest_agentcap.runs.listing import find_call, find_run

    folder = workspace_folder()
    capture = None if find_run(folder, target) else find_call(folder, target)
    if capture is None:
        return list(open_recording(target, folder).sessions)
    name = capture.request.head.get("session")
    sessions = open_recording(str(capture.folder.parent), folder).sessions
    return [only_call(session, capture.rid) for session in sessions if session.key[5] == (name or "")]


def _reissue(
    args: argparse.Namespace, agent: str, sessions: list[RecordedSession], upstream: str, key: Key | None
) -> int:
    from pytest_agentcap.credentials import known_secrets
    from pytest_agentcap.option_values import SCRIPTED
    from pytest_agentcap.proxy.apis import Upstream
    from pytest_agentcap.proxy.ratelimit import RateLimit
    from pytest_agentcap.proxy.server import CaptureProxy
    from pytest_agentcap.publish.parquet import write_parquet
    from pytest_agentcap.replay.reissue import Reissuer, begin_manifest
    from pytest_agentcap.runs.provider import provider_of
    from pytest_agentcap.runs.writer import PairWriter
    from pytest_agentcap.sandbox.reaper import state_root
    from pytest_agentcap.upstream.scripted import ScriptedModel

    provider = provider_of(upstream, args.model)
    run = create_run(workspace_folder(), agent, provider)
    facts = {"agent": agent, "model": args.model, "provider": provider, "upstream": upstream}
    manifest = begin_manifest(run, {**facts, "reissued_from": args.target})
    counts = _Counts()
    with ExitStack() as stack:
        pairs = PairWriter(known_secrets(key))
        stack.callback(pairs.close)
        url = stack.enter_context(ScriptedModel.start(args.model)).url if upstream == SCRIPTED else upstream
        asked = Upstream(url, key.value if key else None)
        limit = stack.enter_context(closing(RateLimit.of(asked, state_root())))
        proxy = CaptureProxy(asked, recorded_as=upstream, limit=limit)
        stack.callback(proxy.close)
        reissuer = Reissuer(run, proxy, pairs, args.model)
        stack.callback(reissuer.close)
        try:
            reissuer.send(sessions, args.at_once, counts.add)
        finally:
            manifest.update()
    if counts.calls:
        write_parquet(run)
    return _tell(run, counts, len(sessions), args.model)


class _Counts:
    """Count calls by how they ended; sessions tell them from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = 0
        self.failed: Counter[str] = Counter()

    def add(self, call: Call) -> None:
        with self._lock:
            self.calls += 1
            if call.error or call.status is None or call.status >= 400:
                self.failed[call.error or f"status {call.status}"] += 1


def _tell(run: RunDirectory, counts: _Counts, sessions: int, model: str) -> int:
    write(f"{counts.calls} calls of {sessions} sessions were sent to {model}")
    for kind, count in counts.failed.most_common():
        complain(f"{count} of them failed: {kind}")
    write(f"run      {run.path}")
    return 1 if counts.failed or not counts.calls else 0
