"""What a run was made with and about, from its manifest and its results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# A parquet's footer has them under this key, for each run by its id.
CIRCUMSTANCES_KEY = "agentcap_circumstances"
_CIRCUMSTANCES = ("machine", "image", "serving", "seed")


def corpus_digests(results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return for each corpus the SHA-256 of the tasks that ran, as sorted JSON lines of id and first prompt."""
    tasks: dict[str, set[str]] = {}
    for result in results:
        line = json.dumps([result.get("task_id"), result.get("prompt")])
        tasks.setdefault(str(result.get("corpus")), set()).add(line)
    return {
        corpus: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() for corpus, lines in sorted(tasks.items())
    }


def circumstances_of(manifest: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is known of the machine, the image, the model server, the tasks and the sampling of a run."""
    results = list(results)
    told = {name: manifest[name] for name in _CIRCUMSTANCES if name in manifest}
    return told | (found_in(results) if results else {})


def found_in(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what results tell of tasks, the trees of files that they were about, and sampling."""
    return {"corpora": corpus_digests(results), "fixtures": _fixtures(results), "sampling": _sampling(results)}


def _fixtures(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str | None]]:
    """Return for each corpus the digests of the trees that its sessions found, by path."""
    found: dict[str, dict[str, str | None]] = {}
    for result in results:
        if told := result.get("fixtures"):
            found.setdefault(str(result.get("corpus")), {}).update(told)
    return found


def _sampling(results: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values that sessions asked for of each parameter, null where some left it to the server."""
    measured = [told["sampling"] for result in results if "sampling" in (told := result.get("telemetry") or {})]
    found: dict[str, list[Any]] = {}
    for name in dict.fromkeys(name for sampling in measured for name in sampling):
        values = found[name] = []
        for sampling in measured:
            values += [value for value in sampling.get(name, [None]) if value not in values]
    return found
