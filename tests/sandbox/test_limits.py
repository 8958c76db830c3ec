from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import SandboxOptions
from pytest_agentcap.sandbox.limits import Counters, DiskWatch, container_limits, size_in_bytes

OPTIONS = SandboxOptions(memory="512m", pids=64, cpus=1.5, disk="1k")


@pytest.mark.parametrize(("text", "size"), [("10", 10), ("512m", 512 << 20), ("4G", 4 << 30), ("1kb", 1024), ("7b", 7)])
def test_sizes_are_read_in_powers_of_1024(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "m", "-1m", "1.5g", "4 g x"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 512m or 4g"):
        size_in_bytes(text)


def test_only_the_controllers_that_there_are_are_asked_for() -> None:
    assert container_limits(OPTIONS, None) == {
        "mem_limit": str(512 << 20),
        "pids_limit": 64,
        "cpu_period": 100_000,
        "cpu_quota": 150_000,
    }
    assert container_limits(OPTIONS, ("pids", "io")) == {"pids_limit": 64}
    assert container_limits(OPTIONS, ()) == {}


FILES_V1 = {"memory/c/memory.oom_control": "under_oom 0\noom_kill {}\n", "pids/c/pids.events": "max {}\n"}
FILES_V2 = {"c/memory.events": "oom 5\noom_kill {}\n", "c/pids.events": "max {}\n"}


def write(root: Path, files: dict[str, str], *counts: int) -> None:
    for (name, text), count in zip(files.items(), counts, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.format(count))


@pytest.mark.parametrize(("files", "group"), [(FILES_V1, "/c"), (FILES_V2, "/c"), (FILES_V2, "/c/container")])
def test_a_limit_that_was_reached_meanwhile_is_named(tmp_path: Path, files: dict[str, str], group: str) -> None:
    write(tmp_path, files, 1, 2)
    before = Counters.read(group, tmp_path)
    assert before == Counters(1, 2)
    assert Counters.read(group, tmp_path).reached_since(before, OPTIONS) is None
    write(tmp_path, files, 1, 9)
    assert Counters.read(group, tmp_path).reached_since(before, OPTIONS) == "the limit of 64 processes was reached"
    write(tmp_path, files, 2, 9)
    said = "the memory limit of 512m was reached, and 1 process was killed"
    assert Counters.read(group, tmp_path).reached_since(before, OPTIONS) == said
    write(tmp_path, files, 4, 9)
    assert str(Counters.read(group, tmp_path).reached_since(before, OPTIONS)).endswith("3 processes were killed")


def test_counters_that_cannot_be_read_are_unknown_and_blame_nothing(tmp_path: Path) -> None:
    unknown = Counters.read("/gone", tmp_path)
    assert unknown == Counters(None, None) == Counters.read("", tmp_path)
    assert unknown.reached_since(Counters(0, 0), OPTIONS) is None
    assert Counters(3, 3).reached_since(unknown, OPTIONS) is None


def test_the_disk_is_compared_with_its_limit_and_not_looked_at_all_the_time() -> None:
    looks: list[int] = []

    def measure() -> int:
        looks.append(1)
        return 1025

    watch = DiskWatch("1k", measure)
    assert watch.when_due() is None
    assert looks == []
    assert watch.now() == "the disk limit of 1k was exceeded: the files have 1,025 bytes"
    assert DiskWatch("1k", lambda: 1024).now() is None
