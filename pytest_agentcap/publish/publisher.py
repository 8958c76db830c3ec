"""From runs on disk to what the Hub has: check, stage, push."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi

from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.push import PushOptions, push
from pytest_agentcap.publish.remote import Hub, PushError, one_line
from pytest_agentcap.publish.stage import StagedRun, stage_run
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.masking import Mask

# Their answers were made up or came from a recording: nobody wants to train on them by mistake.
EMBEDDED = frozenset({"scripted", "replay"})
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Passed:
    """Tell what a secret scan found, as a card says it, and what is to be replaced before publishing."""

    summary: Mapping[str, Any]
    redact: Mask = field(default_factory=Mask)


class Gate(Protocol):
    """Look for secrets in what is about to be published."""

    def check(self, run: RunDirectory) -> Passed:
        """Let a run through, or raise PushError saying what was found where."""


def publish_runs(
    runs: Sequence[RunDirectory],
    place: Destination,
    options: PushOptions,
    gate: Gate | None,
    say: Callable[[str], None],
    *,
    latest: bool = True,
    progress: Progress | None = None,
    hub: Hub | None = None,
) -> None:
    """Publish runs; nothing is sent before all of them are checked and staged.

    Without a gate there is no scan, and the card says so. Raises PushError.
    """
    for run in runs:
        _refuse_embedded(run)
    with tempfile.TemporaryDirectory(prefix="agentcap-push-") as folder:
        staged = []
        for number, run in enumerate(runs):
            passed = gate.check(run) if gate else None
            staged.append(_stage(run, Path(folder, str(number)), passed, latest, progress))
            for note in staged[-1].notes:
                say(note)
        with_rows = [each for each in staged if each.rows]
        if not with_rows:
            raise PushError("there is nothing to push: no call was captured")
        push(hub or Hub(HfApi()), place, with_rows, options, say)


def check_destination(place: Destination, api: HfApi) -> None:
    """Find out whether the Hub token may write to the destination's owner.

    Raises PushError saying what to do.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        who = api.whoami()
    except LocalTokenNotFoundError as error:
        raise PushError("--push needs a Hugging Face token: run `hf auth login` or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        raise PushError(f"--push: the Hub does not take the token: {one_line(error)}") from error
    owners = {who["name"], *(org["name"] for org in who.get("orgs", []))}
    if place.owner not in owners:
        raise PushError(f"--push {place}: the token is of {who['name']}, who is no member of {place.owner}")
    token = who.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise PushError(f"--push {place}: the token may only read: make one that may write")


def _stage(
    run: RunDirectory, folder: Path, passed: Passed | None, latest: bool, progress: Progress | None
) -> StagedRun:
    folder.mkdir()
    return stage_run(
        run,
        folder,
        latest=latest,
        redact=passed.redact if passed else Mask(),
        scan=passed.summary if passed else None,
        progress=None if progress is None else lambda done, total: progress(run.id, done, total),
    )


def _refuse_embedded(run: RunDirectory) -> None:
    provider = read_manifest(run).get("provider")
    if provider in EMBEDDED:
        raise PushError(f"{run.id} is of the {provider} model server and is not published")
