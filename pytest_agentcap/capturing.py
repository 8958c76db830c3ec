"""What a worker has once for all its sessions: pairs, a proxy for each upstream, the scripted model, recordings."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field
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

    def _rate_limit(self, target: ModelTarget, key: Key | None) -> RateLimit:
        """Return what all workers share of an upstream and a key."""
        name = hashlib.sha256(f"{target.upstream}\n{key.value if key else ''}".encode()).hexdigest()[:16]
        limit = RateLimit(self.state / f"upstream-{name}", self.settings.upstream_concurrency)
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
                proxy = CaptureProxy(upstream, recorded_as=target.upstream, transport=replay.transport)
            else:
                proxy = CaptureProxy(upstream, target.upstream, limit=self._rate_limit(target, key))
            self.stack.callback(proxy.close)
            self.proxies[target.upstream, key] = proxy
        return self.proxies[target.upstream, key]
