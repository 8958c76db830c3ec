"""Public datasets as corpora, read from a Hub of our own."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
    hub.put(name, {"README.md": CARD.encode(), "full/test-00000-of-00001.parquet": parquet(MBPP)})
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
    assert task.metadata["revision"] in done.stdout
    assert len(task.metadata["revision"]) == 40
    assert task.metadata["licence"] == "CC-BY-4.0"
    project.pytest("--agent", "loop", "--sandbox", "host", "made").assert_outcomes(passed=1)


def test_a_revision_that_is_named_is_the_one_that_is_read(hub, mbpp, fetch, project):
    assert fetch("mbpp", "-o", "a").returncode == 0
    first = json.loads((project.path / "a/prompts.jsonl").read_text())
    hub.put(mbpp, {"full/test-00000-of-00001.parquet": parquet({**MBPP, "text": "Changed."})})
    assert fetch("mbpp", "-o", "b", "--revision", first["metadata"]["revision"]).returncode == 0
    again = json.loads((project.path / "b/prompts.jsonl").read_text())
    assert again == first


def test_rows_of_another_shape_are_one_line_and_nothing_is_written(hub, fetch, project):
    hub.put("epinnock/intercode-nl2bash-curated", {"data/train.parquet": parquet({"other": 1})})
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
        (("mbpp", "-o", "made"), "google-research-datasets/mbpp cannot be read"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(hub, fetch, words, said):
    done = fetch(*words)
    assert done.returncode == 2
    assert said in done.stderr
