from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_agentcap.telemetry.counters import Counters
from pytest_agentcap.telemetry.exits import SOCKET, ExitDaemon, ExitRecords
from pytest_agentcap.telemetry.model import SessionTelemetry, ToolSpan
from pytest_agentcap.telemetry.monitor import Monitor
from pytest_agentcap.telemetry.sampling import Sampler, find_elsewhere, sample_elsewhere

NAME = "AGENTCAP_SESSION"
BUSY = "import time; e = time.process_time() + 0.3\nwhile time.process_time() < e: pass"


def run(name: str, *argv: str) -> subprocess.Popen[bytes]:
    variable, _, value = name.partition("=")
    return subprocess.Popen(argv, env={**os.environ, variable: value})


def wait_for(told: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def span(**changes: Any) -> ToolSpan:
    values = {
        "span_id": "a-0", "request_id": "a", "result_id": "b", "call_id": None, "position": 0, "thread": 0,
        "thread_kind": "main", "turn": 1, "name": "read", "arguments": "{}", "output": "", "is_error": None,
        "window_start_ns": 1, "window_end_ns": 2, "started_at_ns": 1, "ended_at_ns": 2, "timing": "window",
        "exit_code": None, "exit_code_source": None,
    }  # fmt: skip
    return ToolSpan(**(values | changes))


@pytest.fixture
def daemon(tmp_path: Path):
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may listen to the kernel")
    daemon = ExitDaemon.start(tmp_path)
    if daemon is None:
        pytest.skip("this kernel, or this container, does not tell of processes")
    yield daemon
    daemon.close()


def test_the_daemon_tells_each_sandbox_its_own_processes(daemon, tmp_path):
    first, second = (ExitRecords.follow(tmp_path, f"{NAME}={n}") for n in "ab")
    assert first is not None
    assert second is not None
    assert run(f"{NAME}=a", sys.executable, "-c", f"{BUSY}\nimport sys; sys.exit(4)").wait() == 4
    run(f"{NAME}=b", "sh", "-c", "i=0; while [ $i -lt 20 ]; do /bin/true; i=$((i+1)); done").wait()
    one, many = first.finish(), second.finish()
    assert one is not None
    assert many is not None
    (python,) = one.processes
    assert (python.exit_code, one.lost) == (4, 0)
    assert (python.user_ns or 0) + (python.system_ns or 0) > 250_000_000
    assert len(many.processes) == 21
    assert all(process.ended_ns and process.user_ns is not None for process in many.processes)


def test_the_daemon_knows_what_ran_before_it_was_asked(daemon, tmp_path):
    process = run(f"{NAME}=early", "sleep", "60")
    try:
        wait_for(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"))
        records = ExitRecords.follow(tmp_path, f"{NAME}=early")
        assert records is not None
    finally:
        process.kill()
        process.wait()
    seen = records.finish()
    assert seen is not None
    assert [(p.pid, p.exit_code) for p in seen.processes] == [(process.pid, 137)]


def test_the_daemon_ends_with_its_controller(daemon, tmp_path):
    records = ExitRecords.follow(tmp_path, f"{NAME}=x")
    assert records is not None
    daemon.close()
    assert records.finish() is None
    assert ExitRecords.follow(tmp_path, f"{NAME}=x") is None


def test_a_worker_that_dies_leaves_nothing_behind_in_the_daemon(daemon, tmp_path):
    records = ExitRecords.follow(tmp_path, f"{NAME}=x")
    assert records is not None
    records._answers.close()
    records._connection.close()
    again = ExitRecords.follow(tmp_path, f"{NAME}=y")
    assert again is not None
    assert again.finish() is not None


def test_without_a_daemon_the_process_tree_is_sampled(tmp_path):
    assert ExitRecords.follow(tmp_path, f"{NAME}=x") is None
    assert not (tmp_path / SOCKET).exists()
    sampler = Sampler(f"{NAME}=sampled")
    process = run(f"{NAME}=sampled", sys.executable, "-c", "x = bytearray(100 << 20); import time; time.sleep(60)")
    try:
        wait_for(lambda: any((p.peak_rss_bytes or 0) > 100 << 20 for p in sampler.seen()))
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: all(p.ended_ns for p in sampler.seen()))
    (found,) = sampler.finish().processes
    assert (found.pid, found.parent, found.exit_code) == (process.pid, os.getpid(), None)
    assert abs(found.started_ns + sampler.epoch_ns - time.time_ns()) < 120_000_000_000


def test_a_process_that_clears_its_environment_is_known_by_its_parent(tmp_path):
    sampler = Sampler(f"{NAME}=hidden")
    process = run(f"{NAME}=hidden", "sh", "-c", "env -i sleep 60 & wait")
    try:
        wait_for(lambda: any((p.argv or "") == "sleep\x0060" for p in sampler.seen()))
    finally:
        for found in sampler.seen():
            os.kill(found.pid, signal.SIGKILL)
        process.wait()
    assert len(sampler.finish().processes) == 2


def test_elsewhere_psutil_tells_of_processes():
    process = run(f"{NAME}=psutil", sys.executable, "-c", "x = bytearray(50 << 20); import time; time.sleep(60)")
    try:
        wait_for(lambda: find_elsewhere(process.pid, f"{NAME}=psutil", ()))
        assert find_elsewhere(process.pid, f"{NAME}=other", ()) is None
        assert find_elsewhere(process.pid, f"{NAME}=other", (os.getpid(),)) is not None
        found = find_elsewhere(process.pid, f"{NAME}=psutil", ())
        wait_for(lambda: sample_elsewhere(process.pid, found) and (found.peak_rss_bytes or 0) > 50 << 20)
        assert found.user_ns is not None
        assert found.syscall_read_bytes is None
    finally:
        process.kill()
        process.wait()
    assert not sample_elsewhere(process.pid, found)


def test_nothing_is_measured_where_no_process_can_be_seen(tmp_path):
    lease = SimpleNamespace(on_start=None, on_end=None)
    monitor = Monitor.start("", tmp_path, lease)
    with monitor.turn(1):
        pass
    told = monitor.finish(SessionTelemetry(tools=(span(),)), 1.5)
    assert (told.session.source, told.session.cpu_s, told.session.wall_s) == ("none", None, 1.5)
    assert (told.tools[0].resources.source, told.turns[1].source, told.coverage) == ("none", "none", None)
    assert lease.on_end is None


def test_a_tool_without_a_process_has_what_the_group_used_in_its_window(tmp_path, monkeypatch):
    counts = iter([Counters(0, 0, 100), Counters(1_000_000_000, 0, 100), Counters(3_000_000_000, 500_000_000, 200)])
    monkeypatch.setattr(Counters, "read", lambda name: next(counts))
    monkeypatch.setattr(Sampler, "look", lambda self: None)
    ended: list[str] = []
    lease = SimpleNamespace(on_start=None, on_end=lambda call: ended.append(call.rid))
    monitor = Monitor.start("/no/such/group", tmp_path, lease)
    lease.on_end(SimpleNamespace(rid="a"))
    lease.on_start(SimpleNamespace(rid="b"))
    told = monitor.finish(SessionTelemetry(tools=(span(), span(span_id="a-1", timing="shared"))), 1.0)
    used = told.tools[0].resources
    assert (used.source, used.quality, used.user_s, used.system_s, used.processes) == ("cgroup", "window", 2.0, 0.5, 0)
    assert used.peak_memory_bytes == 200
    assert told.tools[1].resources.cpu_s is None
    assert ended == ["a"]
