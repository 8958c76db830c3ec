"""Scanners are believed only when all of what they say makes sense."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_agentcap.publish.scan import Document, scan_documents
from pytest_agentcap.publish.scanners import Kingfisher, ScanError, Trufflehog, find_scanner

CLEAN = {
    "findings": [],
    "audit": {"summary": {"scan_failed": 0, "scan_partial": 0}},
    "metadata": {
        "kingfisher_version": "9",
        "summary": {"findings": 0, "active_findings": 0, "bytes_scanned": 10_000, "blobs_scanned": 1},
    },
}
DOCUMENTS = [Document("captures/a.request.json", "a", b'{"body": {"x": "gx_k2m9x4q7z1p5"}}')]
FINISHED = '{"level":"info-0","msg":"finished scanning","chunks":1,"bytes":999,"trufflehog_version":"3.9"}'


@pytest.fixture
def program(tmp_path: Path):
    """Make an executable that prints two texts and ends with a status."""

    def make(name: str, stdout: str = "", stderr: str = "", status: int = 0) -> str:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.out").write_text(stdout)
        (tmp_path / f"{name}.err").write_text(stderr)
        path.write_text(f"#!/bin/sh\ncat {tmp_path}/{name}.out\ncat {tmp_path}/{name}.err >&2\nexit {status}\n")
        path.chmod(0o755)
        return str(path)

    return make


def changed(**summary):
    return json.dumps(
        {**CLEAN, "metadata": {**CLEAN["metadata"], "summary": {**CLEAN["metadata"]["summary"], **summary}}}
    )


def trufflehog_line(**fields):
    place = {"Data": {"Filesystem": {"file": "/somewhere/0000000.txt", "line": 1}}}
    return json.dumps(
        {"SourceMetadata": place, "DetectorName": "Gx", "Verified": False, "Raw": "gx_k2m9x4q7z1p5", **fields}
    )


@pytest.mark.parametrize(
    ("stdout", "stderr", "status", "said"),
    [
        ("", "thread 'main' panicked\nmore", 101, "kingfisher failed (exit 101): thread 'main' panicked"),
        ("", "", 0, "kingfisher printed what is no report of it"),
        ("all is well", "", 0, "kingfisher printed what is no report of it"),
        ("[]", "", 0, "kingfisher printed what is no report of it"),
        ('{"findings": []}', "", 0, "kingfisher printed what is no report of it"),
        (changed(findings=1), "", 200, "kingfisher's report contradicts itself"),
        (changed(active_findings=1), "", 205, "kingfisher's report contradicts itself"),
        (json.dumps(CLEAN), "", 205, "kingfisher's report contradicts itself"),
        (
            json.dumps({**CLEAN, "audit": {"summary": {"scan_failed": 0, "scan_partial": 1}}}),
            "",
            0,
            "kingfisher's report contradicts itself",
        ),
        (changed(bytes_scanned=3), "", 0, "kingfisher read 3 of "),
        (changed(blobs_scanned=0), "", 0, "kingfisher read 0 of 1 documents"),
    ],
)
def test_a_kingfisher_that_breaks_or_prints_garbage_is_no_scan(program, stdout, stderr, status, said):
    scanner = Kingfisher(program("kingfisher", stdout, stderr, status))
    with pytest.raises(ScanError) as caught:
        scan_documents(DOCUMENTS, scanner)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("stdout", "stderr", "status", "said"),
    [
        ("", "error: unknown command", 1, "trufflehog failed (exit 1): error: unknown command"),
        ("", "", 0, "trufflehog did not say that it finished: it printed nothing"),
        ("Hello, I am a hog", FINISHED, 0, "trufflehog printed what is no report of it"),
        ("{}", FINISHED, 0, "trufflehog printed what is no report of it"),
        (trufflehog_line(Verified="yes"), FINISHED, 0, "trufflehog printed what is no report of it"),
        (trufflehog_line(), "", 0, "trufflehog did not say that it finished"),
        ("", '{"msg":"encountered errors during scan"}\n' + FINISHED, 0, "trufflehog could not read everything"),
        ("", FINISHED.replace('"chunks":1', '"chunks":0'), 0, "trufflehog read 0 of 1 documents"),
    ],
)
def test_a_trufflehog_that_breaks_or_prints_garbage_is_no_scan(program, stdout, stderr, status, said):
    scanner = Trufflehog(program("trufflehog", stdout, stderr, status))
    with pytest.raises(ScanError) as caught:
        scan_documents(DOCUMENTS, scanner)
    assert said in str(caught.value)


def test_what_trufflehog_finds_is_told_by_document_and_call(program):
    lines = [
        trufflehog_line(Verified=True, DetectorName="CustomRegex", ExtraData={"name": "acme"}),
        trufflehog_line(Raw="gx_other", VerificationError="no route to host"),
    ]
    log = '2026-01-01T00:00:00Z\tinfo-0\ttrufflehog\tfinished scanning\t{"chunks": 2, "bytes": 99, "x": 1}'
    scan = scan_documents(DOCUMENTS, Trufflehog(program("trufflehog", "\n".join(lines), log)))
    found = [(hit.detector, hit.file, hit.rid, hit.verified, hit.undecided) for hit in scan.hits]
    file = "captures/a.request.json"
    assert found == [("acme", file, "a", True, False), ("Gx", file, "a", False, True)]
    assert (scan.bytes, scan.chunks) == (99, 2)


def test_a_program_that_cannot_be_run_is_no_scan(tmp_path):
    with pytest.raises(ScanError, match="cannot be run"):
        scan_documents(DOCUMENTS, Kingfisher(str(tmp_path / "gone")))


def test_trufflehog_comes_first_and_a_program_beside_python_is_found(program, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    with pytest.raises(ScanError, match=r"pip install 'pytest-agentcap\[scan\]', or pass --no-scan"):
        find_scanner()
    program("kingfisher")
    assert isinstance(find_scanner(), Kingfisher)
    hog = tmp_path / ".local/bin/trufflehog"
    hog.parent.mkdir(parents=True)
    hog.write_text("#!/bin/sh\n")
    hog.chmod(0o755)
    assert isinstance(find_scanner(), Trufflehog)


def test_a_placeholder_is_no_secret(program):
    line = trufflehog_line(Raw="agentcap-redacted-1a2b3c4d")
    assert not scan_documents(DOCUMENTS, Trufflehog(program("trufflehog", line, FINISHED))).hits


def test_nothing_to_scan_is_a_clean_scan_without_a_scanner(tmp_path):
    assert not scan_documents([Document("a", None, b"")], Kingfisher(str(tmp_path / "gone"))).hits
