"""Pushes of recorded runs to a Hub of our own, by the real client."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml
from local_hub import READER

HELLO = {"id": "hello", "input": "python3 call hello"}
TWICE = {"id": "twice", "input": ["python3 call one", "python3 call two"]}


def commits(hub, repo):
    return [commit.title for commit in hub.repos[repo].commits[1:]]


@pytest.fixture
def agentcap(agentcap):
    """The command without the scan, which has tests of its own."""
    return lambda *args, **environment: agentcap(*args, "--no-scan", **environment)


def parquets(hub, repo="me/demo-captures"):
    return {path: content for path, content in hub.files(repo).items() if path.endswith(".parquet")}


def test_a_push_makes_captures_traces_and_collection_with_one_commit_each(hub, record, agentcap):
    run = record(HELLO, TWICE)
    done = agentcap("export", run.id, "--push", "me/demo")
    assert done.returncode == 0, done.stderr
    assert set(hub.repos) == {"me/demo-captures", "me/demo-shell-traces"}
    assert commits(hub, "me/demo-captures") == ["agentcap export: add 1 parquet(s)"]
    assert commits(hub, "me/demo-shell-traces") == ["agentcap export: add shell traces (3 file(s) across 1 run(s))"]
    assert all(repo.private for repo in hub.repos.values())
    [collection] = hub.collections.values()
    assert collection["title"] == "demo"
    assert collection["private"] is True
    assert [item["id"] for item in collection["items"]] == ["me/demo-captures", "me/demo-shell-traces"]

    [(path, content)] = parquets(hub).items()
    assert re.fullmatch(r"data/train-shell-m-local-\d{8}T\d{6}-[0-9a-f]{6}\.parquet", path)
    table = pq.read_table(io.BytesIO(content))
    assert table["task_id"].to_pylist() == ["hello", "twice", "twice"]
    assert set(table["run_id"].to_pylist()) == {run.id}
    # The shell agent remembers nothing: each of its turns is a conversation of its own.
    traces = {path for path in hub.files("me/demo-shell-traces") if path.startswith("data/")}
    assert traces == {f"data/{run.id}/{name}.jsonl" for name in ("hello", "twice", "twice.1-main")}


def test_load_dataset_reads_back_what_was_pushed_beside_a_file_of_agentcap(hub, record, agentcap):
    run = record(HELLO)
    agentcap("export", run.id)
    old = io.BytesIO()
    # agentcap's columns are the first ones; its file comes first, too.
    pq.write_table(pq.read_table(run.parquet).select(range(12)), old)
    hub.put("me/demo-captures", {"data/train-a-m-local-20250101T000000-abcdef.parquet": old.getvalue()})
    agentcap("export", run.id, "--push", "me/demo")
    read = (
        "from datasets import load_dataset; import json\n"
        "old, new = load_dataset('me/demo-captures', split='train')\n"
        "print(json.dumps([old['task_id'], old['status_code'], new['task_id'], new['status_code']]))"
    )
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["hello", None, "hello", 200]


def test_an_unchanged_run_is_not_pushed_again(hub, record, agentcap):
    run = record(HELLO)
    agentcap("export", run.id, "--push", "me/demo")
    before = {name: len(repo.commits) for name, repo in hub.repos.items()}
    done = agentcap("export", run.id, "--push", "me/demo")
    assert done.returncode == 0
    assert "me/demo-captures: nothing new" in done.stdout
    assert {name: len(repo.commits) for name, repo in hub.repos.items()} == before


def test_a_changed_run_is_a_new_file_unless_it_replaces_the_old_one(hub, record, agentcap):
    run = record(HELLO)
    agentcap("export", run.id, "--push", "me/demo")
    [first] = parquets(hub)
    result = json.loads(run.result("hello").read_bytes())
    run.result("hello").write_text(json.dumps({**result, "verdict": "failed"}))
    done = agentcap("export", run.id, "--push", "me/demo")
    assert f"{first} hold an earlier state of these runs; --replace removes them" in done.stdout
    assert len(parquets(hub)) == 2
    done = agentcap("export", run.id, "--push", "me/demo", "--replace", "--dry-run")
    assert f"  {first}: an earlier state, removed" in done.stdout
    assert len(parquets(hub)) == 2
    done = agentcap("export", run.id, "--push", "me/demo", "--replace")
    assert done.returncode == 0, done.stderr
    [last] = parquets(hub)
    assert last != first
    assert "1 failed" in hub.files("me/demo-captures")["README.md"].decode()


def test_two_runs_share_one_commit_and_the_card_sums_them_up(hub, record, agentcap):
    first = record(HELLO)
    record(TWICE, label="blue")
    agentcap("export", first.id, "--push", "me/demo")
    done = agentcap("export", "--all", "--push", "me/demo")
    assert done.returncode == 0, done.stderr
    assert len(parquets(hub)) == 2
    card = hub.files("me/demo-captures")["README.md"].decode()
    assert "| shell | 1 | org/m | local | 2 | 2 | 3 | 54 | 36 | 2 captured |" in card
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["tags"] == ["agentcap", "agentcap-captures"]
    assert "license" not in metadata
    assert "2 file(s) were published without a scan" in card


def test_what_somebody_wrote_in_a_card_stays(hub, record, agentcap):
    run = record(HELLO)
    agentcap("export", run.id, "--push", "me/demo", "--license", "mit")
    hub.edit("me/demo-captures", "README.md", lambda card: card.replace("# demo", "# My title\n\nMy words.\n\n# demo"))
    record(TWICE)
    agentcap("export", "--all", "--push", "me/demo", "--license", "cc-by-4.0")
    card = hub.files("me/demo-captures")["README.md"].decode()
    assert "My words." in card
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "mit"
    assert card.count("<!-- agentcap: begin -->") == 1
    assert "| 3 | 54 | 36 |" in card


def test_a_licence_that_the_hub_does_not_know_is_refused_before_anything_is_committed(hub, record, agentcap):
    done = agentcap("export", record(HELLO).id, "--push", "me/demo", "--license", "my-own")
    assert done.returncode == 1
    assert "license" in done.stderr
    assert commits(hub, "me/demo-captures") == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_fails_for_a_while_is_tried_again(hub, record, agentcap, status):
    run = record(HELLO)
    hub.fail(r"POST .*/commit/", status, times=2, retry_after="0")
    hub.fail(r"GET /api/datasets/me/demo-captures$", status, times=1, retry_after="0")
    done = agentcap("export", run.id, "--push", "me/demo")
    assert done.returncode == 0, done.stderr
    assert len(parquets(hub)) == 1


def test_a_commit_that_was_overtaken_is_made_anew_on_top(hub, record, agentcap):
    run = record(HELLO)
    agentcap("export", run.id, "--push", "me/demo")
    record(TWICE)
    hub.overtake("me/demo-captures", "data/train-other-m-local-20250101T000000-abcdef.parquet")
    done = agentcap("export", "--all", "--push", "me/demo")
    assert done.returncode == 0, done.stderr
    assert sum("POST /api/datasets/me/demo-captures/commit" in each for each in hub.requests) == 3
    assert len(parquets(hub)) == 3


def test_a_push_that_broke_off_can_be_repeated(hub, record, agentcap):
    run = record(HELLO)
    hub.fail(r"POST /api/datasets/me/demo-shell-traces/commit/", 403, times=1)
    done = agentcap("export", run.id, "--push", "me/demo")
    assert done.returncode == 1
    assert "agentcap: not pushed: me/demo-shell-traces refuses the commit" in done.stderr
    assert agentcap("export", run.id, "--push", "me/demo").returncode == 0
    assert len(parquets(hub)) == 1
    assert len(hub.collections) == 1


def test_a_dry_run_tells_and_changes_nothing(hub, record, agentcap):
    run = record(HELLO)
    done = agentcap("export", run.id, "--push", "me/demo", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would push to me/demo-captures (new, private):" in done.stdout
    assert re.search(r"  data/train-shell-m-local-\S+\.parquet: [\d,]+ bytes", done.stdout)
    assert not hub.repos
    assert not any(asked.startswith(("POST", "PUT")) for asked in hub.requests)


def test_public_makes_new_repositories_public_and_leaves_old_ones(hub, record, agentcap):
    run = record(HELLO)
    agentcap("export", run.id, "--push", "me/demo", "--public")
    assert not any(repo.private for repo in hub.repos.values())
    done = agentcap("export", run.id, "--push", "me/demo")
    assert "me/demo-captures is there already and stays public" in done.stdout
    assert not hub.repos["me/demo-captures"].private


@pytest.mark.parametrize(
    ("place", "environment", "said"),
    [
        ("demo", {}, "'demo' is no place to push to: give OWNER/BASE"),
        ("somebody/demo", {}, "--push somebody/demo: the token is of me, who is no member of somebody"),
        ("me/demo", {"HF_TOKEN": READER}, "--push me/demo: the token may only read"),
        ("me/demo", {"HF_TOKEN": "hf_wrong"}, "--push: the token cannot be checked: Invalid user token"),
        ("me/demo", {"HF_TOKEN": ""}, "--push needs a Hugging Face token: run `hf auth login` or set HF_TOKEN"),
    ],
)
def test_a_place_that_cannot_be_pushed_to_is_named(hub, record, agentcap, place, environment, said):
    done = agentcap("export", record(HELLO).id, "--push", place, **environment)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert not hub.repos


def test_a_run_of_the_scripted_model_is_not_published(hub, project, agentcap):
    project.write_jsonl(HELLO)
    project.capture()
    [run] = project.runs()
    done = agentcap("export", run.name, "--push", "me/demo")
    assert done.returncode == 1
    assert f"{run.name} is of the scripted model server and is not published" in done.stderr
    assert not hub.repos
