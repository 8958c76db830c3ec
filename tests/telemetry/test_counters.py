from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.telemetry.counters import Counters, members


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {
    "box/cpu.stat": "usage_usec 30\nuser_usec 10\nsystem_usec 20\n",
    "box/memory.peak": "4096\n",
    "box/io.stat": "8:0 rbytes=100 wbytes=7 rios=1\n8:16 rbytes=1 wbytes=3 rios=1\n",
    "box/inner/cgroup.procs": "4\n",
    "box/cgroup.procs": "2\n3\n",
}
V1 = {
    "cpuacct/box/cpuacct.usage_user": "5\n",
    "cpuacct/box/cpuacct.usage_sys": "6\n",
    "memory/box/memory.max_usage_in_bytes": "8192\n",
    "pids/box/cgroup.procs": "2\n",
}


def test_version_2_counts_all(tmp_path):
    assert Counters.read("/box", write(tmp_path, V2)) == Counters(10_000, 20_000, 4096, 101, 10)
    assert sorted(members("/box", tmp_path)) == [2, 3, 4]


def test_version_1_counts_no_bytes(tmp_path):
    assert Counters.read("/box", write(tmp_path, V1)) == Counters(5, 6, 8192, None, None)
    assert members("/box", tmp_path) == [2]


def test_a_hybrid_host_tells_cpu_in_its_unified_hierarchy(tmp_path):
    hybrid = V1 | {"unified/box/cpu.stat": "usage_usec 3\nuser_usec 1\nsystem_usec 2\n"}
    assert Counters.read("/box", write(tmp_path, hybrid)).cpu_ns == 3000


@pytest.mark.parametrize("cgroup", ["", "/gone", "AGENTCAP_SESSION=x"])
def test_what_cannot_be_read_is_not_known(cgroup, tmp_path):
    assert Counters.read(cgroup, tmp_path) == Counters()


def test_a_window_has_the_difference_and_a_peak_only_when_it_was_reached_in_it():
    before = Counters(1_000_000_000, 0, 4096, 100, 0)
    same = Counters(1_500_000_000, 250_000_000, 4096, 120, 5).since(before)
    assert (same.source, same.quality, same.user_s, same.system_s) == ("cgroup", "window", 0.5, 0.25)
    assert (same.storage_read_bytes, same.storage_write_bytes, same.peak_memory_bytes) == (20, 5, None)
    assert Counters(1_500_000_000, 0, 8192).since(before).peak_memory_bytes == 8192
    unknown = Counters().since(before)
    assert (unknown.source, unknown.quality, unknown.cpu_s) == ("none", "none", None)
