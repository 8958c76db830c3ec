from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_agentcap.telemetry import table as module
from pytest_agentcap.telemetry.netlink import ProcessEvent, TaskRecord
from pytest_agentcap.telemetry.processes import Process
from pytest_agentcap.telemetry.table import ProcessTable

WORDS = {10: "sh\0-c\0make", 11: "cc\0a.c"}


def sandbox_of(pid: int, names: Iterable[str]) -> str | None:
    return next((name for name in names if (name, pid) == ("/box", 10)), None)


@pytest.fixture
def table() -> ProcessTable:
    return ProcessTable(sandbox_of, WORDS.get)


def record(pid: int, tgid: int | None = None, rss: int = 1000, cpu: int = 5) -> TaskRecord:
    return TaskRecord(pid, tgid or pid, 0, cpu, cpu, rss, 1, 2, 3, 4, f"task{pid}")


def fork(parent: int, pid: int, at: int) -> ProcessEvent:
    return ProcessEvent("fork", at, pid, parent)


def test_a_process_that_enters_a_sandbox_is_kept_with_all_its_descendants(table):
    table.follow("/box")
    table.add_event(fork(1, 10, 100))
    table.add_event(ProcessEvent("exec", 110, 10))
    table.add_event(fork(10, 11, 120))
    table.add_event(ProcessEvent("exec", 125, 11))
    table.add_event(fork(1, 99, 130))
    table.add_event(ProcessEvent("exec", 135, 99))
    table.add_record(record(11, rss=7000))
    table.add_event(ProcessEvent("exit", 140, 11, status=3 << 8))
    table.add_record(record(99))
    shell, compiler = table.forget("/box").processes
    assert (shell.pid, shell.started_ns, shell.argv, shell.ended_ns, shell.user_ns) == (
        10, 110, "sh\0-c\0make", None, None,
    )  # fmt: skip
    assert (compiler.parent, compiler.argv, compiler.started_ns, compiler.ended_ns) == (10, "cc\0a.c", 120, 140)
    assert (compiler.exit_code, compiler.peak_rss_bytes, compiler.user_ns) == (3, 7000, 5)


def test_a_process_that_becomes_another_program_keeps_the_words_of_both(table):
    words = iter(["sh\0-c\0sleep 1; make", "make", None])
    table.argv_of = lambda pid: next(words)
    table.follow("/box", [Process(9, 1, 50, argv="agent")])
    table.add_event(fork(9, 10, 100))
    for at in (110, 120, 130):
        table.add_event(ProcessEvent("exec", at, 10))
    _, shell = table.forget("/box").processes
    assert (shell.argv, shell.earlier) == ("make", "sh\0-c\0sleep 1; make\nmake\n")


def test_words_of_what_has_ended_are_not_looked_for(table):
    asked = []
    table.argv_of = asked.append
    table.follow("/box", [Process(9, 1, 50)])
    for pid in (10, 11):
        table.add_event(fork(9, pid, 100))
        table.add_event(ProcessEvent("exec", 110, pid), ended={10})
    assert asked == [11]


def test_threads_add_up_to_their_process(table):
    table.follow("/box", [Process(10, 1, 50)])
    table.add_record(record(31, tgid=10, rss=100))
    table.add_record(record(10, rss=200))
    (process,) = table.forget("/box").processes
    assert (process.user_ns, process.syscall_write_bytes, process.peak_rss_bytes) == (10, 8, 200)


def test_a_number_that_is_used_again_is_another_process(table):
    table.follow("/box", [Process(10, 1, 50)])
    table.add_event(fork(10, 11, 100))
    table.add_record(record(11, cpu=1))
    table.add_event(ProcessEvent("exit", 110, 11, status=0))
    table.add_event(fork(10, 11, 200))
    table.add_record(record(11, cpu=2))
    table.add_event(ProcessEvent("exit", 210, 11, status=9))
    _, first, second = table.forget("/box").processes
    assert [(p.started_ns, p.user_ns, p.exit_code) for p in (first, second)] == [(100, 1, 0), (200, 2, 137)]


def test_what_is_forgotten_is_kept_no_longer(table):
    table.follow("/box", [Process(10, 1, 50)])
    table.forget("/box")
    table.add_event(fork(10, 11, 100))
    table.add_event(ProcessEvent("exit", 100, 10, status=0))
    assert table.forget("/box").processes == ()


def test_lost_messages_are_counted_for_each_sandbox(table):
    table.follow("/box")
    table.note_loss()
    assert table.forget("/box").lost == 1


def test_a_sandbox_cannot_fill_the_memory(table, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 2)
    table.follow("/box", [Process(10, 1, 50)])
    for pid in (11, 12, 13):
        table.add_event(fork(10, pid, pid))
    seen = table.forget("/box")
    assert (len(seen.processes), seen.lost) == (2, 2)


def test_a_process_has_the_name_of_its_main_thread_and_is_a_shell_once_it_was_one(table):
    table.follow("/box")
    table.add_event(ProcessEvent("exec", 100, 10))
    table.argv_of = {10: "ls"}.get
    table.add_event(ProcessEvent("exec", 110, 10))
    table.add_record(record(77, tgid=10))
    table.add_record(record(10))
    (process,) = table.forget("/box").processes
    assert (process.argv, process.name, process.shell) == ("ls", "task10", True)
