"""What a worker has once for all its sessions: pairs, a proxy for each upstream, the scripted model, recordings."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pytest_agentcap.credentials import Key, key_of
from pytest_agentcap.option_values import SCRIPTED
from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.ratelimit import RateLimit
from pytest_agentcap.proxy.server import CaptureProxy
from pytest_agentcap.replay.replay import Replay
from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.runs.layout import workspace_folder
from pytest_agentcap.runs.writer import PairWriter
from pytest_agentcap.sandbox.reaper import state_root
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget
from pytest_agentcap.upstream.scripted import ScriptedModel

# Where a strict replay's requests would go; nothing is ever sent there.
_NOWHERE = "http://replay.invalid"


@dataclass(slots=True)
class Capturing:
    """Hold what runs once in a worker: the pair writer, a proxy for each upstream, the scripted model, recordings.

    Proxies and model are started, and recordings opened, when the first session needs them, and closed by `stack`.
    """

    settings: Settings
    pairs: PairWriter
    stack: ExitStack
    secrets: tuple[str, ...]
    state: Path
    proxies: dict[tuple[str, Key | None], CaptureProxy] = field(default_factory=dict)
    model: ScriptedModel | None = None
    replays: dict[str, Replay] = field(default_factory=dict)

    def replay(self, target: ModelTarget) -> Replay | None:
        """Return the recording if that is what the target's upstream serves.

        Raises RecordingError.
        """
        source = replayed_source(target.upstream)
        if source is None:
            return None
        if source not in self.replays:
            self.replays[source] = Replay.of(source, workspace_folder(), self.settings.replay)
        return self.replays[source]

    def scripted(self, target: ModelTarget) -> ScriptedModel | None:
        """Return the scripted model if that is the target's upstream."""
        if target.upstream == SCRIPTED and self.model is None:
            self.model = self.stack.enter_context(ScriptedModel.start(target.id))
        return self.model if target.upstream == SCRIPTED else None

    def _rate_limit(self, upstream: Upstream, embedded: bool) -> RateLimit:
        """Return what all sessions of this machine share of an upstream and a key; an embedded one is this session's.

        Raises SandboxError or OSError when its folder cannot be made.
        """
        root = self.state if embedded else state_root()
        limit = RateLimit.of(upstream, root, self.settings.upstream_concurrency)
        self.stack.callback(limit.close)
        return limit

    def proxy(self, target: ModelTarget) -> CaptureProxy:
        """Return the proxy before the target's upstream, with the target's key."""
        key = key_of(target, self.settings)
        if (target.upstream, key) not in self.proxies:
            scripted, replay = self.scripted(target), self.replay(target)
            url = scripted.url if scripted else target.upstream
            if replay:
                url = self.settings.replay.upstream or _NOWHERE
            upstream = Upstream(url, key.value if key else None)
            if replay:
                limit = self._rate_limit(upstream, False) if self.settings.replay.upstream else None
                transport = partial(replay.transport, limit=limit)
                proxy = CaptureProxy(upstream, recorded_as=target.upstream, transport=transport)
            else:
                # Each worker has a scripted model of its own: what they share goes by the name.
                shared = Upstream(target.upstream, upstream.api_key)
                proxy = CaptureProxy(upstream, target.upstream, limit=self._rate_limit(shared, scripted is not None))
            self.stack.callback(proxy.close)
            self.proxies[target.upstream, key] = proxy
        return self.proxies[target.upstream, key]
