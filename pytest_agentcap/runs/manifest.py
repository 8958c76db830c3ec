"""run.json: what a run is, under the names that agentcap's readers know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.layout import RunDirectory, write_whole
from pytest_agentcap.runs.results import read_result


@dataclass(slots=True)
class Manifest:
    """Keep a run's manifest in step with its results; only the controller of a test session holds one.

    `facts` come first in the file: agent, model, provider, upstream, turns_per_task, followup, label and versions.
    """

    run: RunDirectory
    facts: dict[str, Any]
    _seen: dict[Path, tuple[tuple[int, ...], dict[str, Any]]] = field(default_factory=dict)

    def results(self) -> list[dict[str, Any]]:
        """Return the results by corpus, task, trial and attempt; unchanged files are not read again."""
        for path in self.run.results.glob("*.json"):
            status = path.stat()
            # The clock of a file system may stand still for milliseconds, but every write makes a new file.
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if path not in self._seen or self._seen[path][0] != version:
                self._seen[path] = (version, read_result(path))
        return sorted(
            (result for _, result in self._seen.values()),
            key=lambda r: (r["corpus"], r["index"], r["task_id"], r["trial"], r["attempt"]),
        )

    def update(self) -> list[dict[str, Any]]:
        """Rewrite run.json from the result files and return them."""
        results = self.results()
        told = {**_held_to(results), "corpora": corpus_digests(results), "tasks": [_task(result) for result in results]}
        document = {**self.facts, **told}
        write_whole(self.run.manifest, json.dumps(document, indent=2).encode() + b"\n")
        return results


def _held_to(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what sessions were really given where a corpus overrides what the options say."""
    turns = [max(result.get("turns_planned") or 0, len(result["turns"])) for result in results]
    networks = sorted({result["network"] for result in results if result.get("network")})
    told: dict[str, Any] = {"turns_per_task": max(turns)} if any(turns) else {}
    return told | ({"network": ", ".join(networks)} if networks else {})


def _task(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "task_id": result["task_id"],
        "prompt": result["prompt"],
        "session_id": result["session_id"],
        "completed_turns": result["completed_turns"],
        "turns": [
            {"turn": t["turn"], "returncode": t["returncode"], "duration_s": t["duration_s"]} for t in result["turns"]
        ],
        **{key: result[key] for key in ("session", "corpus", "trial", "attempt", "verdict", "reason", "calls")},
        **{key: result.get(key) for key in ("nodeid", "ended_at", "run_limit")},
    }


def corpus_digests(results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return for each corpus the SHA-256 of the tasks that ran, as sorted JSON lines of id and first prompt."""
    tasks: dict[str, set[str]] = {}
    for result in results:
        line = json.dumps([result.get("task_id"), result.get("prompt")])
        tasks.setdefault(str(result.get("corpus")), set()).add(line)
    return {
        corpus: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() for corpus, lines in sorted(tasks.items())
    }


def read_manifest(run: RunDirectory) -> dict[str, Any]:
    """Read run.json; a run without one (agentcap writes its own at the end only) is an empty dict.

    Raises ValueError naming the file when it is broken.
    """
    try:
        data = json.loads(run.manifest.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{run.manifest}: not a run manifest: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{run.manifest}: not a run manifest: no object")
    return data
