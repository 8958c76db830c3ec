"""Derived data as a dataset of its own: the files of an export, checked by the same gate, in one commit."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from pytest_agentcap import __version__
from pytest_agentcap.publish.card import BEGIN, CardError
from pytest_agentcap.publish.derived_card import derived_card
from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.publisher import Gate, Passed, refuse_embedded
from pytest_agentcap.publish.push import CARD, PushOptions, ensure_repository, tell_file, tell_stale
from pytest_agentcap.publish.redact import redact_text
from pytest_agentcap.publish.remote import Hub, Operations, PushError, RepoState
from pytest_agentcap.publish.scan import Document
from pytest_agentcap.publish.summary import summary_of
from pytest_agentcap.runs.captures import find_captures
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.masking import Mask

# What the card is made from when another part is added.
INDEX = "agentcap.json"
_DIGITS = 6
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """Hold files that are published together under one name below `data/`, and what the card tells of them.

    `earlier` matches the paths of what was published of the same sources before.
    """

    name: str
    files: Mapping[str, Path]
    earlier: re.Pattern[str]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """Hold an export in a format: its files below a folder, and the runs and captures parquets it was made from."""

    form: str
    folder: Path
    files: Sequence[Path]
    sources: Sequence[RunDirectory | Path]


def publish_derived(
    export: Export, place: Destination, options: PushOptions, gate: Gate | None, say: Say, *, hub: Hub | None = None
) -> None:
    """Publish an export as the dataset `place`.

    The gate looks at the sources, and at the files when secrets were replaced in them. Raises PushError.
    """
    for source in export.sources:
        refuse_embedded(source)
    # Secrets are replaced in text, not within a compressed file; the Hub makes a parquet of its own from rows.
    export = replace(export, files=[file for file in export.files if file.suffix != ".parquet"])
    if not any(file.stat().st_size for file in export.files):
        raise PushError(f"there is nothing to push: no {export.form} records were made")
    passed = [gate.check(source) for source in export.sources] if gate else []
    with tempfile.TemporaryDirectory(prefix="agentcap-push-") as name:
        staged, redacted = _stage(export, Path(name), _merged(passed))
        if gate and redacted:
            gate.confirm(str(place), (Document(p.name, None, p.read_bytes()) for p in staged))
            say(f"{place}: {sum(redacted.values())} value(s) are placeholders")
        parts = list(_parts(export, Path(name), staged, passed, redacted))
        _push(hub or Hub(HfApi()), place, export.form, parts, options, say)


def _merged(passed: Sequence[Passed]) -> Mask:
    pairs = {pair for each in passed for pair in each.redact.replacements}
    return Mask(tuple(sorted(pairs, key=lambda pair: (-len(pair[0]), pair[0]))))


def _stage(export: Export, into: Path, redact: Mask) -> tuple[list[Path], dict[str, int]]:
    """Copy files, secrets replaced; tell how many by the first name of a file's path."""
    staged, redacted = [], Counter[str]()
    for file in export.files:
        relative = file.relative_to(export.folder)
        copy = into / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        if redact.replacements:
            data, hits = redact_text(redact, file.read_bytes())
            copy.write_bytes(data)
            redacted[relative.parts[0]] += hits
        else:
            shutil.copyfile(file, copy)
        staged.append(copy)
    return staged, +redacted


def _parts(
    export: Export, folder: Path, files: Sequence[Path], passed: Sequence[Passed], redacted: Mapping[str, int]
) -> Iterator[Part]:
    """Group files by the first name of their paths, and name each group after its content."""
    sources = [_told(source) for source in export.sources]
    groups: dict[str, list[Path]] = {}
    for file in sorted(files):
        groups.setdefault(file.relative_to(folder).parts[0], []).append(file)
    for top, group in groups.items():
        single = group[0] == folder / top
        stem, suffix = (Path(top).stem, Path(top).suffix) if single else (top, "")
        if single:
            # The same file is made from any runs; which ones they were tells states of one part from other parts.
            stem = f"{stem}-{_digest(str(source['name']).encode() for source in sources)}"
        digest = _digest(_contents(folder, group))
        name = f"{stem}-{digest}{suffix}"
        kept = {} if single else {str(p.relative_to(folder / top).as_posix()): p for p in group}
        yield Part(
            name=name,
            files={f"data/{name}": group[0]} if single else {f"data/{name}/{at}": p for at, p in kept.items()},
            earlier=re.compile(rf"data/{re.escape(stem)}-[0-9a-f]{{{_DIGITS}}}{re.escape(suffix)}(/.*)?"),
            facts={
                "format": export.form,
                "files": len(group),
                "records": sum(_lines(file) for file in group),
                "bytes": sum(file.stat().st_size for file in group),
                "sources": [s for s in sources if single or s["name"] == top] or list(sources),
                "scans": [dict(each.summary) for each in passed],
                "redacted": redacted.get(top, 0),
                "agentcap_version": __version__,
            },
        )


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()[:_DIGITS]


def _contents(folder: Path, files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        yield file.relative_to(folder).as_posix().encode()
        with file.open("rb") as opened:
            yield hashlib.file_digest(opened, "sha256").digest()


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _told(source: RunDirectory | Path) -> dict[str, Any]:
    if isinstance(source, RunDirectory):
        facts = read_manifest(source)
        name, calls = source.id, sum(1 for _ in find_captures(source))
    else:
        facts = summary_of(pq.read_metadata(source))
        name, calls = source.name, facts["calls"]
    return {"name": name, "agent": facts.get("agent"), "model": facts.get("model"), "calls": calls}


def _push(hub: Hub, place: Destination, form: str, parts: Sequence[Part], options: PushOptions, say: Say) -> None:
    repo = str(place)
    if options.dry_run:
        state = hub.state(repo)
        kind = "there already" if state else f"new, {'public' if options.public else 'private'}"
        say(f"would push to {repo} ({kind}):")
        for path, file in (item for part in parts for item in part.files.items()):
            tell_file(path, file, state, say)
        if state:
            tell_stale(_stale(parts, state), options, say)
        return
    ensure_repository(hub, repo, options, say)
    message = f"agentcap export: add {form} ({sum(len(part.files) for part in parts)} file(s))"
    url = hub.commit(repo, message, lambda state: _operations(hub, place, form, parts, options, say, state))
    say(f"{repo}: {url or 'nothing new'}")


def _operations(
    hub: Hub,
    place: Destination,
    form: str,
    parts: Sequence[Part],
    options: PushOptions,
    say: Say,
    state: RepoState,
) -> Operations:
    repo = str(place)
    index = _read_index(hub, place, form, state)
    new = [part for part in parts if not part.files.keys() <= state.digests.keys()]
    stale = _stale(parts, state)
    if not new and not (stale and options.replace):
        return []
    if stale and not options.replace:
        say(f"{repo}: {', '.join(stale[:3])} hold an earlier state; --replace removes them")
    removed = stale if options.replace else []
    gone = {path.split("/")[1] for path in removed}
    index = {name: facts for name, facts in index.items() if name not in gone}
    index |= {part.name: dict(part.facts) for part in new}
    before = hub.read(repo, CARD, state.head).decode("utf-8", "replace") if CARD in state.digests else None
    try:
        card = derived_card(before, place, form, index, options.license_id)
    except CardError as error:
        raise PushError(f"{repo}: {error}: mend it there and push again") from error
    return [
        *(CommitOperationAdd(path, str(file)) for part in new for path, file in sorted(part.files.items())),
        *(CommitOperationDelete(path) for path in removed),
        CommitOperationAdd(INDEX, json.dumps({"format": form, "parts": index}, indent=2).encode() + b"\n"),
        CommitOperationAdd(CARD, card.encode()),
    ]


def _stale(parts: Sequence[Part], state: RepoState) -> list[str]:
    """Return the files that hold an earlier state of these parts."""
    current = {path for part in parts for path in part.files}
    return sorted(p for p in state.digests if p not in current and any(part.earlier.fullmatch(p) for part in parts))


def _read_index(hub: Hub, place: Destination, form: str, state: RepoState) -> dict[str, dict[str, Any]]:
    """Read what the repository says of its parts.

    Raises PushError when it holds something else.
    """
    if INDEX not in state.digests:
        if CARD in state.digests and BEGIN.encode() in hub.read(str(place), CARD, state.head):
            raise PushError(f"{place} holds captures or traces: push {form} to a dataset of its own")
        return {}
    try:
        index = json.loads(hub.read(str(place), INDEX, state.head))
        known, parts = index["format"], dict(index["parts"])
    except (ValueError, LookupError, TypeError) as error:
        raise PushError(f"{place}: {INDEX} is not what a push left there: {error!r}") from error
    if known != form:
        raise PushError(f"{place} holds {known}: push {form} to a dataset of its own")
    return parts
