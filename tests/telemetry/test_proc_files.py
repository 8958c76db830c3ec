"""What is read of /proc, whole however long it is."""

from __future__ import annotations

from pathlib import Path

from pytest_agentcap.telemetry.proc import argv_of, sandbox_of


def test_a_variable_behind_a_long_environment_is_found(tmp_path: Path):
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "environ").write_bytes(b"LONG=" + b"x" * 100_000 + b"\0AGENTCAP_SESSION=a\0")
    assert sandbox_of(7, ["AGENTCAP_SESSION=b", "AGENTCAP_SESSION=a"], str(tmp_path)) == "AGENTCAP_SESSION=a"


def test_words_are_read_up_to_a_limit(tmp_path: Path):
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"sh\0-c\0" + b"x" * 100_000 + b"\0")
    words = argv_of(7, str(tmp_path))
    assert words
    assert len(words) == 8192
    assert argv_of(8, str(tmp_path)) is None
