"""What the options say of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_agentcap.replay.session import Mode

REPLAY = "replay:"
PACES = ("instant", "real")


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """Say what becomes of requests that were not recorded, who answers them, and how fast recorded answers come.

    `fork_at` is the turn from which on the model answers; `ignore` are patterns of texts that do not count.
    """

    mode: Mode = "strict"
    upstream: str | None = None
    real_pace: bool = False
    ignore: tuple[str, ...] = ()
    fork_at: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any], replays: bool) -> ReplaySettings:
        """Read the options; `replays` tells whether anything is replayed.

        Raises ValueError naming the option that does not fit.
        """
        settings = cls(
            mode=given["replay"] or ("prefix" if given["fork-at"] else "strict"),
            upstream=given["replay-upstream"],
            real_pace=given["replay-speed"] == "real",
            ignore=tuple(given["replay-ignore"] or ()),
            fork_at=given["fork-at"],
        )
        if not replays:
            # An ini file may hold them for the runs that replay.
            return settings
        if settings.fork_at and settings.mode != "prefix":
            raise ValueError(f"--fork-at goes with --replay prefix, not with {settings.mode}")
        if settings.mode != "strict" and not settings.upstream:
            option = "--fork-at" if settings.fork_at else f"--replay {settings.mode}"
            raise ValueError(
                f"{option} needs the server that answers what was not recorded: pass --replay-upstream URL"
            )
        if settings.mode == "strict" and settings.upstream:
            raise ValueError("--replay-upstream is for --replay fallthrough or prefix: strict asks no server")
        if given["followup"] == "synthesized" and not settings.upstream:
            raise ValueError("--followup synthesized asks a model, and a strict replay has none")
        return settings


def replayed_source(upstream: str | None) -> str | None:
    """Return what an upstream replays, None for one that does not."""
    return upstream.removeprefix(REPLAY) if upstream is not None and upstream.startswith(REPLAY) else None


def replay_facts(settings: ReplaySettings, upstream: str) -> dict[str, Any]:
    """Return what a run's manifest says of a replay, nothing for other upstreams."""
    if replayed_source(upstream) is None:
        return {}
    return {"replay": settings.mode, "replay_upstream": settings.upstream, "fork_at": settings.fork_at}


def recorded_model(source: str) -> str:
    """Return the one model that a recording on this machine was made with.

    Raises ValueError when there are several, or when it is on the Hub, which nobody asks while collecting.
    """
    from pytest_agentcap.conversation.files import HUB
    from pytest_agentcap.replay.recording import open_recording
    from pytest_agentcap.runs.layout import workspace_folder

    if source.startswith(HUB):
        raise ValueError(f"--upstream {REPLAY}{source}: pass --model ID, the model that it was recorded with")
    models = open_recording(source, workspace_folder()).models
    if len(models) != 1:
        told = ", ".join(models) or "none"
        raise ValueError(f"--upstream {REPLAY}{source}: pass --model ID; it was recorded with: {told}")
    return models[0]
