"""Public datasets as corpora: fetched once, at a revision that every row names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


class FetchError(ValueError):
    """Say in one line why a public dataset cannot be fetched."""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """Name a dataset on the Hub at a commit, and say how a row of it becomes a task.

    `shipped` is the shipped corpus whose conftest.py grades such tasks, None where there is nothing to grade by.
    """

    repository: str
    revision: str
    config: str | None
    split: str
    licence: str
    shipped: str | None
    task: Callable[[Row, int], dict[str, Any]]


def _mbpp(row: Row, number: int) -> dict[str, Any]:
    asked = f"{row['text']} Write it in solution.py in the working directory."
    task = f"{asked} It has to pass tests such as: {row['test_list'][0]}"
    reference = f"cat > solution.py <<'AGENTCAP_END'\n{_lines(row['code'])}AGENTCAP_END"
    told = {"tests": list(row["test_list"]), "setup": row.get("test_setup_code") or ""}
    return {"id": f"mbpp-{row['task_id']}", "input": task, "reference": reference, "metadata": told}


def _nl2bash(row: Row, number: int) -> dict[str, Any]:
    return {
        "id": f"nl2bash-{number}",
        "input": str(row["query"]),
        "reference": str(row["gold"]),
        "metadata": {"gold": str(row["gold"])},
    }


def _lines(code: str) -> str:
    return code.replace("\r\n", "\n").rstrip("\n") + "\n"


# Sources: Austin et al. 2021 (arXiv:2108.07732) for MBPP; Lin et al. 2018 (arXiv:1802.08979) as curated for InterCode,
# Yang et al. 2023 (arXiv:2306.14898).
PUBLIC = {
    "mbpp": PublicSet(
        "google-research-datasets/mbpp",
        "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        "full",
        "test",
        "CC-BY-4.0",
        "mbpp",
        _mbpp,
    ),
    "nl2bash": PublicSet(
        "epinnock/intercode-nl2bash-curated",
        "019dd0389e872d8b075efbbd94a14d089e5c9f26",
        None,
        "train",
        "MIT",
        None,
        _nl2bash,
    ),
}


def fetch(name: str, revision: str | None) -> tuple[str, list[str]]:
    """Return the commit that a public set was read at, and the lines of its corpus; without a revision its own.

    Raises FetchError.
    """
    known = PUBLIC[name]
    wanted = revision or known.revision
    try:
        from datasets import load_dataset
    except ImportError:
        raise FetchError("corpora fetch needs datasets: pip install 'pytest-agentcap[datasets]'") from None
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(known.repository, revision=wanted).sha
        rows = load_dataset(known.repository, known.config, split=known.split, revision=commit)
    except Exception as error:
        # datasets and the Hub's client raise what they like: of the network, of files, of their own.
        raise FetchError(f"{known.repository}@{wanted} cannot be read: {' '.join(str(error).split())[:300]}") from error
    return str(commit), list(_corpus_lines(known, str(commit), rows))


def _corpus_lines(known: PublicSet, commit: str, rows: Any) -> Iterator[str]:
    origin = {"source": f"hf://datasets/{known.repository}", "revision": commit, "licence": known.licence}
    for number, row in enumerate(rows, 1):
        # AgentTrace counts rows from 0 and calls that a task's id.
        place = {**origin, "row": number - 1}
        try:
            task = known.task(row, number)
        except (KeyError, IndexError, TypeError) as error:
            raise FetchError(
                f"{known.repository}@{commit}: row {number} has not the columns of this set: {error!r}"
            ) from error
        yield json.dumps({**task, "metadata": {**task["metadata"], **place}}, ensure_ascii=False) + "\n"
