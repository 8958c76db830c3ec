"""The secret scan of a run: what is found, what is kept of it, and when it is made again."""

from __future__ import annotations

import json
import shutil

import pytest
from counting_scanner import Counting
from secret_rule import DEAD, LIVE

from pytest_agentcap.publish.scan import scan_documents
from pytest_agentcap.publish.scanned_run import run_documents, scan_run
from pytest_agentcap.publish.scanners import ScanError, Trufflehog


def test_a_real_scanner_finds_keys_in_arguments_and_asks_whether_they_work(leaky_run, kingfisher):
    scan = scan_run(leaky_run, kingfisher.scanner, config=kingfisher.config)
    live, *_ = [hit for hit in scan.verified if "response" in hit.file]
    assert (live.detector, live.secret, live.raw) == ("custom.gx", LIVE, "gx_k… (23 characters)")
    assert live.rid is not None
    assert live.file == f"captures/{live.rid}.response.json"
    [dead] = scan.unverified
    assert dead.secret == DEAD
    assert {path for path, _ in kingfisher.server.seen} == {f"/check/{LIVE}", f"/check/{DEAD}"}


def test_nobody_is_asked_when_nothing_is_to_be_verified(leaky_run, kingfisher):
    scan = scan_run(leaky_run, kingfisher.scanner, verify=False, config=kingfisher.config)
    assert {hit.secret for hit in scan.unverified} == {LIVE, DEAD}
    assert not kingfisher.server.seen


def test_trufflehog_finds_and_verifies_by_a_rule_of_our_own(leaky_run, http_upstream, tmp_path):
    program = shutil.which("trufflehog")
    if program is None:
        pytest.skip("trufflehog is not installed")
    with http_upstream(lambda path: (200, b"{}")) as server:
        config = tmp_path / "trufflehog.yaml"
        verify = f"verify: [{{endpoint: '{server.url}', unsafe: true}}]"
        config.write_text(
            f"detectors: [{{name: gx, keywords: [gx_], regex: {{key: 'gx_[a-z0-9]{{20}}'}}, {verify}}}]\n"
        )
        scan = scan_run(leaky_run, Trufflehog(program), config=config)
    assert {hit.secret for hit in scan.verified} == {LIVE, DEAD}


def test_what_every_call_repeats_is_scanned_once(leaky_run):
    scan = scan_documents(run_documents(leaky_run), Counting((LIVE, True, False), (DEAD, False, False)))
    halves = [hit.file.split(".")[1] for hit in scan.hits]
    assert halves == ["response", "request", "request"]
    assert len(list(leaky_run.captures.iterdir())) == 6


@pytest.mark.parametrize("place", ["traces/buy/log.jsonl", "sessions/buy_turn_01.out", "captures/buy.journal"])
def test_traces_and_outputs_are_scanned_too(leaky_run, place):
    path = leaky_run.path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"gx_elsewhere {json.dumps({'k': 1})}\n")
    [hit] = scan_run(leaky_run, Counting(("gx_elsewhere", True, False))).hits
    assert (hit.file, hit.rid) == (place, None)


def test_the_record_has_agentcaps_fields_and_no_secret(leaky_run):
    scan_run(leaky_run, Counting((LIVE, True, False), (DEAD, False, False)))
    text = leaky_run.scan.read_text()
    assert LIVE not in text
    assert DEAD not in text
    record = json.loads(text)
    assert list(record)[:6] == [
        "scanned_at",
        "no_verification",
        "bytes_scanned",
        "chunks_scanned",
        "verified",
        "unverified",
    ]
    hit = record["verified"][0]
    assert {key: hit[key] for key in ("detector", "verified", "raw")} == {
        "detector": "Gx",
        "verified": True,
        "raw": "gx_k… (23 characters)",
    }
    assert leaky_run.scan.stat().st_mode & 0o777 == 0o600


def test_the_same_content_is_scanned_once(leaky_run):
    scanner = Counting((DEAD, False, False))
    first = scan_run(leaky_run, scanner)
    again = scan_run(leaky_run, scanner)
    assert scanner.asked == 1
    assert [str(hit) for hit in again.hits] == [str(hit) for hit in first.hits]
    assert (again.scanner, again.version, again.bytes) == (first.scanner, first.version, first.bytes)


def test_new_captures_are_scanned_and_so_is_everything_on_demand(leaky_run):
    scanner = Counting()
    scan_run(leaky_run, scanner)
    scan_run(leaky_run, scanner, rescan=True)
    assert scanner.asked == 2
    path = next(leaky_run.captures.glob("*.request.json"))
    path.with_name("f" * 32 + ".request.json").write_bytes(path.read_bytes())
    scan_run(leaky_run, scanner)
    assert scanner.asked == 3


def test_another_configuration_of_the_scanner_is_another_scan(leaky_run, tmp_path):
    scanner, config = Counting(), tmp_path / "config"
    for text in ("one", "one", "two"):
        config.write_text(text)
        scan_run(leaky_run, scanner, config=config)
    assert scanner.asked == 2


def test_a_scan_that_asked_nobody_cannot_stand_for_one_that_does(leaky_run):
    scanner = Counting((LIVE, True, False))
    assert not scan_run(leaky_run, scanner, verify=False).verified
    assert scan_run(leaky_run, scanner).verified
    assert scan_run(leaky_run, scanner, verify=False).verified
    assert scanner.asked == 2


def test_a_secret_that_could_not_be_checked_is_checked_next_time(leaky_run):
    scan_run(leaky_run, Counting((LIVE, False, True)))
    assert scan_run(leaky_run, Counting((LIVE, True, False))).verified


def test_the_secrets_themselves_are_not_kept_and_looked_for_again(leaky_run):
    scanner = Counting((LIVE, True, False))
    scan_run(leaky_run, scanner)
    assert {hit.secret for hit in scan_run(leaky_run, scanner).hits} == {None}
    assert {hit.secret for hit in scan_run(leaky_run, scanner, with_secrets=True).hits} == {LIVE}
    clean = Counting()
    scan_run(leaky_run, clean, rescan=True)
    scan_run(leaky_run, clean, with_secrets=True)
    assert clean.asked == 1


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"digest": null}'])
def test_a_record_that_is_none_is_ignored(leaky_run, text):
    scanner = Counting()
    scan_run(leaky_run, scanner)
    leaky_run.scan.write_text(text)
    scan_run(leaky_run, scanner)
    assert scanner.asked == 2


def test_a_scan_that_broke_leaves_no_record(leaky_run):
    class Broken(Counting):
        def scan(self, folder, *, verify, config):
            raise ScanError("it broke")

    with pytest.raises(ScanError):
        scan_run(leaky_run, Broken())
    assert not leaky_run.scan.exists()


def test_a_mark_that_says_to_look_away_is_not_obeyed(leaky_run, kingfisher):
    (leaky_run.path / "sessions").mkdir()
    (leaky_run.path / "sessions/a.out").write_text(f"key {LIVE} # kingfisher:ignore trufflehog:ignore gitleaks:allow\n")
    hits = scan_run(leaky_run, kingfisher.scanner, config=kingfisher.config).verified
    assert "sessions/a.out" in {hit.file for hit in hits}
