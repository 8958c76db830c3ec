"""From runs on disk to what the Hub has: check, stage, push."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi

from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.parquet_rows import parquet_documents, parquet_providers
from pytest_agentcap.publish.push import PushOptions, push
from pytest_agentcap.publish.remote import Hub, PushError
from pytest_agentcap.publish.scan import Document
from pytest_agentcap.publish.stage import StagedRun, stage_file, stage_run
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

    def check(self, source: RunDirectory | Path) -> Passed:
        """Let a run or a captures parquet through, or raise PushError saying what was found where."""

    def confirm(self, name: str, documents: Iterable[Document]) -> None:
        """Raise PushError when what is published holds a secret even after it was replaced."""


def publish_runs(
    sources: Sequence[RunDirectory | Path],
    place: Destination,
    options: PushOptions,
    gate: Gate | None,
    say: Callable[[str], None],
    *,
    latest: bool = True,
    progress: Progress | None = None,
    hub: Hub | None = None,
) -> None:
    """Publish runs and captures parquets; nothing is sent before all of them are checked and staged.

    Without a gate there is no scan, and the card says so. Raises PushError.
    """
    for source in sources:
        refuse_embedded(source)
    with tempfile.TemporaryDirectory(prefix="agentcap-push-") as folder:
        staged = []
        for number, source in enumerate(sources):
            passed = gate.check(source) if gate else None
            ready = _stage(source, Path(folder, str(number)), passed, latest, progress)
            if gate and passed and passed.redact.replacements:
                gate.confirm(ready.run_id, _staged_documents(ready))
                say(f"{ready.run_id}: {ready.summary.get('redacted') or 0} value(s) are placeholders in its parquet")
            for note in ready.notes:
                say(note)
            staged.append(ready)
        with_rows = [each for each in staged if each.rows]
        if not with_rows:
            raise PushError("there is nothing to push: no call was captured")
        push(hub or Hub(HfApi()), place, with_rows, options, say)


def check_destination(place: Destination, hub: Hub) -> None:
    """Find out whether the Hub token may write to the destination's owner.

    Raises PushError saying what to do.
    """
    from huggingface_hub.errors import LocalTokenNotFoundError

    try:
        who = hub.whoami()
    except LocalTokenNotFoundError as error:
        raise PushError("--push needs a Hugging Face token: run `hf auth login` or set HF_TOKEN") from error
    owners = {who["name"], *(org["name"] for org in who.get("orgs", []))}
    if place.owner not in owners:
        raise PushError(f"--push {place}: the token is of {who['name']}, who is no member of {place.owner}")
    token = who.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise PushError(f"--push {place}: the token may only read: make one that may write")
    if token.get("role") == "fineGrained" and not _may_write(token.get("fineGrained"), place.owner):
        raise PushError(
            f"--push {place}: the fine-grained token may not write to {place.owner}: give it write access to the "
            f"contents of repositories of {place.owner}"
        )


def _may_write(grants: Any, owner: str) -> bool:
    """Tell whether a fine-grained token may write to some repository of an owner; so it is when nobody says."""
    scoped = grants.get("scoped") if isinstance(grants, dict) else None
    if not isinstance(scoped, list):
        return True
    names = [
        str((grant.get("entity") or {}).get("name"))
        for grant in scoped
        if isinstance(grant, dict) and "repo.write" in (grant.get("permissions") or [])
    ]
    return any(name == owner or name.startswith(f"{owner}/") for name in names)


def _stage(
    source: RunDirectory | Path, folder: Path, passed: Passed | None, latest: bool, progress: Progress | None
) -> StagedRun:
    folder.mkdir()
    redact = passed.redact if passed else Mask()
    scan = passed.summary if passed else None
    if isinstance(source, Path):
        try:
            return stage_file(source, folder, latest=latest, redact=redact, scan=scan)
        except ValueError as error:
            raise PushError(str(error)) from error
    told = None if progress is None else partial(progress, source.id)
    return stage_run(source, folder, latest=latest, redact=redact, scan=scan, progress=told)


def _staged_documents(staged: StagedRun) -> Iterator[Document]:
    yield from parquet_documents(staged.parquet)
    for path, file in staged.traces.items():
        yield Document(path, None, file.read_bytes())


def refuse_embedded(source: RunDirectory | Path) -> None:
    """Raise PushError when a model server that comes with this package gave the answers."""
    if isinstance(source, RunDirectory):
        name, providers = source.id, {str(read_manifest(source).get("provider"))}
    else:
        name, providers = source.name, parquet_providers(source)
    for provider in providers & EMBEDDED:
        raise PushError(f"{name} is of the {provider} model server and is not published")
