"""Derived data as datasets of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from counting_scanner import Counting
from secret_rule import LIVE

from pytest_agentcap.formats.export import export_format
from pytest_agentcap.formats.registry import FORMATS
from pytest_agentcap.publish.derived import Export, publish_derived
from pytest_agentcap.publish.derived_card import ROWS
from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.gate import GateOptions, SecretGate
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.publish.push import PushOptions
from pytest_agentcap.publish.remote import PushError
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.masking import placeholder_of

# The Hub's client warns of a part of its own.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")


@pytest.fixture
def push(leaky_run, hub, client, tmp_path):
    """Export a run in a format and publish that; return what was said."""

    def publish(form, *sources, to="me/rows", scanner=None, redact=False, **options):
        said: list[str] = []
        given = sources or (leaky_run,)
        folder = tmp_path / f"export-{form}"
        files = export_format(form, given, folder, latest=True).files
        gate = SecretGate(scanner, GateOptions(redact=redact), said.append) if scanner else None
        export = Export(form, folder, files, given)
        publish_derived(export, Destination.parse(to), PushOptions(**options), gate, said.append, hub=client)
        return said

    return publish


def data(hub, repo="me/rows"):
    return {path: content for path, content in hub.files(repo).items() if path.startswith("data/")}


def card(hub, repo="me/rows"):
    return hub.files(repo)["README.md"].decode()


def test_rows_are_published_in_one_commit_with_a_card(push, hub):
    push("sft", scanner=Counting())
    assert [commit.title for commit in hub.repos["me/rows"].commits[1:]] == ["agentcap export: add sft (1 file(s))"]
    assert hub.repos["me/rows"].private
    [(path, content)] = data(hub).items()
    assert re.fullmatch(r"data/sft-[0-9a-f]{6}-[0-9a-f]{6}\.jsonl", path)
    rows = [json.loads(line) for line in content.splitlines()]
    assert {"messages", "tools"} <= rows[0].keys()
    text = card(hub)
    assert "One row is one conversation that no later call continues" in text
    assert f"| {path.removeprefix('data/')} | 1 | {len(rows)} |" in text
    assert "| pi-local-20260101-000000 | pi | org/m | 3 |" in text
    assert "- counting 1: 0 verified, 0 unverified findings in 1 file(s)" in text
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["tags"] == ["agentcap", "agentcap-derived", "agentcap-sft"]
    assert metadata["configs"][0]["data_files"] == [{"split": "train", "path": "data/sft-*.jsonl"}]


def test_every_format_says_what_a_row_is():
    assert ROWS.keys() == FORMATS.keys()


@pytest.mark.parametrize("form", ["sts", "atif", "otlp", "agenttrace", "agentcap"])
def test_every_format_can_be_published(push, hub, form):
    push(form)
    assert data(hub)
    assert ROWS[form] in card(hub)
    assert "1 file(s) were published without a scan" in card(hub)


def test_nothing_new_is_no_commit_and_more_runs_are_added(push, hub, leaky_run, new_session, tmp_path):
    push("sft")
    assert push("sft") == ["me/rows: nothing new"]
    other = RunDirectory(tmp_path / "pi-local-20260202-000000")
    session = new_session("other")
    session.call([session.user("hello")], session.says("hi"))
    session.save(other)
    push("sft", other)
    assert len(data(hub)) == 2
    assert card(hub).count("| pi-local-2026") == 2
    assert card(hub).count("<!-- agentcap: begin -->") == 1


@pytest.mark.parametrize("form", ["sft", "sts"])
def test_another_state_of_the_same_runs_is_added_or_replaces_the_first(push, hub, leaky_run, form):
    push(form)
    first = set(data(hub))
    path = next(leaky_run.results.glob("*.json"))
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "verdict": "failed"}))
    changed = next(leaky_run.captures.glob("*.request.json"))
    changed.write_text(changed.read_text().replace("you are an agent", "you are another agent"))
    said = push(form)
    assert any("--replace removes them" in line for line in said)
    assert first < set(data(hub))
    push(form, replace=True)
    assert not first & set(data(hub))
    assert data(hub)
    assert json.loads(hub.files("me/rows")["agentcap.json"])["parts"].keys() == {p.split("/")[1] for p in data(hub)}


def test_a_secret_in_what_it_is_made_from_stops_it(push, hub):
    with pytest.raises(PushError, match="holds a secret that works"):
        push("sft", scanner=Counting((LIVE, True, False)))
    assert not hub.repos


@pytest.mark.parametrize("form", ["sft", "sts", "atif", "otlp", "agenttrace"])
def test_secrets_are_replaced_in_it(push, hub, form):
    push(form, scanner=Counting((LIVE, True, False)), redact=True)
    content = b"".join(data(hub).values())
    assert LIVE.encode() not in content
    assert placeholder_of(LIVE).encode() in content
    for text in data(hub).values():
        for line in text.splitlines():
            json.loads(line)
    assert "2 of them replaced" in card(hub)


def test_a_dataset_holds_one_format(push, hub):
    push("sft")
    with pytest.raises(PushError, match="me/rows holds sft: push otlp to a dataset of its own"):
        push("otlp")


def test_captures_are_not_mixed_with_rows(push, hub, client):
    hub.put("me/rows", {"README.md": b"---\ntags: [x]\n---\n<!-- agentcap: begin -->\n<!-- agentcap: end -->\n"})
    with pytest.raises(PushError, match="me/rows holds captures or traces"):
        push("sft")


def test_a_dry_run_tells_and_changes_nothing(push, hub):
    said = push("sft", dry_run=True)
    assert said[0] == "would push to me/rows (new, private):"
    assert not hub.repos


def test_a_published_parquet_can_be_derived_from(push, hub, leaky_run, tmp_path):
    path = write_parquet(leaky_run, tmp_path / "captures.parquet").path
    push("sft", path, scanner=Counting())
    assert "| captures.parquet | pi | org/m | 3 |" in card(hub)


def test_no_rows_are_nothing_to_push(push, hub):
    with pytest.raises(PushError, match="there is nothing to push: no dpo records were made"):
        push("dpo")


def test_the_command_publishes_and_load_dataset_reads(leaky_run, hub, agentcap, project):
    done = agentcap("export", str(leaky_run.path), "--format", "sft", "--push", "me/rows", "--no-scan", "--public")
    assert done.returncode == 0, done.stderr
    assert "me/rows: http" in done.stdout
    read = "from datasets import load_dataset; print(load_dataset('me/rows', split='train')[0]['run_id'])"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, env=os.environ)
    assert done.stdout.splitlines()[-1:] == [leaky_run.id], done.stderr
