from __future__ import annotations

import pytest

from pytest_agentcap.logs import KEPT_OF_AN_END, OutputLimit, check_output, keep_output
from pytest_agentcap.runs.masking import Mask

SECRET = "sk-0123456789abcdef"


def test_a_short_output_is_kept_as_it_is_but_for_secrets(tmp_path):
    path = tmp_path / "a.out"
    path.write_text(f"one {SECRET}\ntwo\n")
    assert "two" in keep_output(path, Mask.of([SECRET]))
    assert SECRET not in path.read_text()
    before = path.stat().st_ino
    keep_output(path, Mask.of([SECRET]))
    assert path.stat().st_ino == before


@pytest.mark.parametrize("shift", [0, 7, len(SECRET)])
def test_of_a_long_output_both_ends_are_kept_and_no_part_of_a_secret_at_the_cuts(tmp_path, shift):
    path = tmp_path / "a.out"
    half = b"x" * (KEPT_OF_AN_END - shift) + SECRET.encode()
    path.write_bytes(half + b"y" * 100 + half[::-1].replace(SECRET[::-1].encode(), SECRET.encode()) + b"the end")
    size = path.stat().st_size
    said = keep_output(path, Mask.of([SECRET]))
    kept = path.read_bytes()
    assert said.endswith("the end")
    assert len(said) <= KEPT_OF_AN_END
    assert b"bytes are left out here]" in kept
    assert len(kept) < size
    head, _, tail = kept.partition(b"\n[agentcap: ")
    assert not any(SECRET[:length].encode() in head[-40:] + tail[:120] for length in range(8, len(SECRET) + 1))


def test_output_beyond_the_limit_is_told(tmp_path):
    path = tmp_path / "a.out"
    path.write_bytes(b"x" * 2000)
    check_output("1m", path, tmp_path / "none")
    with pytest.raises(OutputLimit, match="the disk limit of 1k was exceeded: the output has 2,000 bytes"):
        check_output("1k", path, tmp_path / "none")
