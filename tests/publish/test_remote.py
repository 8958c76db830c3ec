"""The Hub when it is slow, busy, broken or away."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from local_hub import WRITER

from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.publisher import check_destination
from pytest_agentcap.publish.remote import Hub, PushError

REPO = "me/demo"

# The Hub's client warns of a part of its own.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")


@pytest.fixture
def commit(hub, client, tmp_path, monkeypatch):
    """Commit one file, small or large."""
    # The client tries some requests again by itself, after pauses of its own.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    client.create(REPO, private=True)

    def run(name="small.txt", content=b"hello"):
        (tmp_path / name).write_bytes(content)
        return client.commit(REPO, "add", lambda state: [CommitOperationAdd(name, str(tmp_path / name))])

    return run


@pytest.mark.parametrize(
    ("pattern", "statuses"),
    [
        ("GET /api/datasets/me/demo$", (0, 429, 500)),
        ("POST .*/preupload/", (0, 429)),
        ("POST .*/commit/", (0, 409, 412, 429, 500, 503)),
        # An upload that breaks off.
        ("PUT /lfs/", (0, 500)),
        ("POST .*/verify", (0, 500)),
        ("POST .*/objects/batch", (0, 500)),
    ],
)
def test_what_fails_for_a_while_is_tried_again(hub, commit, pattern, statuses):
    large = "lfs" in pattern or pattern.endswith(("verify", "batch"))
    for status in statuses:
        name, content = f"{status}.txt", f"{status}".encode() * (20_000 if large else 1)
        hub.fail(pattern, status, times=7 if large else 2, retry_after="0")
        assert commit(name, content)
        assert hub.files(REPO)[name] == content


def test_a_refusal_is_told_at_once(hub, commit):
    hub.fail("POST .*/commit/", 403)
    with pytest.raises(PushError, match="me/demo refuses the commit: as the test wants"):
        commit()
    assert sum("/commit/" in asked for asked in hub.requests) == 1


def test_a_hub_that_stays_broken_is_told_with_what_it_said(hub, commit):
    hub.fail("POST .*/commit/", 503, times=100, retry_after="0")
    with pytest.raises(PushError, match="me/demo took no commit in 7 tries: as the test wants"):
        commit()


def test_a_hub_that_is_away_is_one_line():
    pauses: list[float] = []
    away = Hub(HfApi(endpoint="http://127.0.0.1:9", token=WRITER), pauses.append)
    with pytest.raises(PushError, match=r"--push: the token cannot be checked: .*refused"):
        check_destination(Destination("me", "demo"), away)
    assert pauses == [1, 2]


@pytest.mark.parametrize("content", [b"small", b"x" * 50_000])
def test_a_file_is_known_by_its_content_and_not_by_its_size(hub, client, commit, tmp_path, content):
    commit("file.bin", content)
    state = client.state(REPO)
    assert state.holds("file.bin", tmp_path / "file.bin")
    (tmp_path / "file.bin").write_bytes(content[::-1] if content == b"small" else b"y" * 50_000)
    assert not state.holds("file.bin", tmp_path / "file.bin")
    assert not state.holds("other.bin", tmp_path / "file.bin")


def test_footers_are_read_and_what_is_no_parquet_has_none(hub, client, commit, tmp_path):
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "good.parquet")
    hub.put(REPO, {"data/good.parquet": (tmp_path / "good.parquet").read_bytes(), "data/bad.parquet": b"nothing"})
    found = client.footers(REPO, ["data/good.parquet", "data/bad.parquet"], hub.repos[REPO].head.oid)
    assert found["data/good.parquet"].num_rows == 2
    assert found["data/bad.parquet"] is None
