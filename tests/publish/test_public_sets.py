"""Public datasets as corpora, read from a Hub of our own."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_agentcap.corpus.public import PUBLIC
from pytest_agentcap.corpus.reader import read_corpus

MBPP = {
    "task_id": 11,
    "text": "Write a function to add.",
    "code": "def add(a, b):\r\n  return a + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
CARD = """\
---
configs:
- config_name: full
  data_files:
  - split: test
    path: full/test-00000-of-00001.parquet
---
"""


def parquet(*rows: dict) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()


@pytest.fixture
def mbpp(hub) -> str:
    name = "google-research-datasets/mbpp"
    files = {"README.md": CARD.encode(), "full/test-00000-of-00001.parquet": parquet(MBPP)}
    hub.put(name, files, PUBLIC["mbpp"].revision)
    return name


@pytest.fixture
def fetch(agentcap):
    return lambda *words: agentcap("corpora", "fetch", *words)


def test_a_public_set_becomes_a_corpus_whose_rows_name_its_revision(hub, mbpp, fetch, project):
    done = fetch("mbpp", "-o", "made")
    assert done.returncode == 0, done.stderr
    [task] = read_corpus(project.path / "made/prompts.jsonl", root=project.path)
    assert task.id == "mbpp-11"
    assert task.metadata["tests"] == MBPP["test_list"]
    assert task.metadata["revision"] == PUBLIC["mbpp"].revision
    assert task.metadata["revision"] in done.stdout
    assert (task.metadata["licence"], task.metadata["row"]) == ("CC-BY-4.0", 0)
    project.pytest("--agent", "loop", "--sandbox", "host", "made").assert_outcomes(passed=1)


def test_what_changed_since_is_read_when_it_is_asked_for(hub, mbpp, fetch, project):
    hub.put(mbpp, {"full/test-00000-of-00001.parquet": parquet({**MBPP, "text": "Changed."})})
    for folder, words in (("a", ()), ("b", ("--revision", "main"))):
        assert fetch("mbpp", "-o", folder, *words).returncode == 0
    known, newest = (json.loads((project.path / f"{each}/prompts.jsonl").read_text()) for each in "ab")
    assert known["input"].startswith(MBPP["text"])
    assert newest["input"].startswith("Changed.")
    assert newest["metadata"]["revision"] == hub.repos[mbpp].head.oid


def test_requests_without_tests_keep_their_command_licence_and_row(hub, fetch, project):
    name, rows = PUBLIC["nl2bash"].repository, [{"query": f"list {n}", "gold": f"ls {n}"} for n in range(2)]
    hub.put(name, {"data/train.parquet": parquet(*rows)}, PUBLIC["nl2bash"].revision)
    assert fetch("nl2bash", "-o", "made").returncode == 0
    _, task = read_corpus(project.path / "made/prompts.jsonl", root=project.path)
    assert (task.id, task.prompt, task.references) == ("nl2bash-2", "list 1", ("ls 1",))
    told = {"gold": "ls 1", "licence": "MIT", "revision": PUBLIC["nl2bash"].revision, "row": 1}
    assert task.metadata == {**told, "source": f"hf://datasets/{name}"}


def test_rows_of_another_shape_are_one_line_and_nothing_is_written(hub, fetch, project):
    known = PUBLIC["nl2bash"]
    hub.put(known.repository, {"data/train.parquet": parquet({"other": 1})}, known.revision)
    done = fetch("nl2bash", "-o", "made")
    assert done.returncode == 2
    assert "row 1 has not the columns of this set" in done.stderr
    assert not (project.path / "made").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("other", "-o", "made"), "name one of mbpp, nl2bash"),
        (("mbpp",), "name the new folder with -o DIR"),
        (("mbpp", "-o", "."), "exists: name a new folder"),
        (("mbpp", "-o", "made"), f"google-research-datasets/mbpp@{PUBLIC['mbpp'].revision} cannot be read"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(hub, fetch, words, said):
    done = fetch(*words)
    assert done.returncode == 2
    assert said in done.stderr
