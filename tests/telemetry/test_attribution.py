from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_agentcap.telemetry.attribution import Started, attribute, started_by, started_since, total
from pytest_agentcap.telemetry.model import ToolSpan
from pytest_agentcap.telemetry.processes import Process

SECOND = 1_000_000_000
EPOCH = 100 * SECOND


def span(start: float, end: float | None, command: str = "make", position: int = 0, timing="window") -> ToolSpan:
    window = (EPOCH + round(start * SECOND), None if end is None else EPOCH + round(end * SECOND))
    return ToolSpan(
        f"r{start}-{position}", "r", "s", "c", position, 0, "main", 1, "bash", json.dumps({"command": command}), "out",
        None, *window, *window, timing, 9, "text",
    )  # fmt: skip


def process(pid: int, parent: int | None, start: float, end: float | None, argv: str = "", **figures) -> Process:
    ended = None if end is None else round(end * SECOND)
    known = {"user_ns": SECOND, "system_ns": 0, "peak_rss_bytes": 1000, "syscall_read_bytes": 7} | figures
    return Process(pid, parent, round(start * SECOND), ended, None if end is None else 0, argv, **known)


AGENT = process(1, None, 0, 99, "loop")


def measured(spans, processes):
    return attribute(spans, processes, "taskstats", EPOCH)


def test_a_tool_call_has_the_processes_that_started_in_its_window_and_all_below_them():
    shell = process(2, 1, 10.1, 10.9, "bash\0-c\0make", peak_rss_bytes=5000)
    compiler = process(3, 2, 10.2, 10.8, "cc", peak_rss_bytes=9000)
    agents_own = process(4, 1, 12, 13, "git\0status")
    (found,) = measured([span(10, 11)], [AGENT, shell, compiler, agents_own])
    used = found.resources
    assert (used.source, used.quality, used.processes, used.cpu_s) == ("taskstats", "exact", 2, 2.0)
    assert (used.peak_rss_bytes, used.syscall_read_bytes, used.storage_write_bytes) == (9000, 14, None)
    assert (used.wall_s, used.idle_s) == (pytest.approx(0.8), pytest.approx(0.2))
    assert (found.timing, found.started_at_ns, found.exit_code, found.exit_code_source) == (
        "process", EPOCH + round(10.1 * SECOND), 0, "process",
    )  # fmt: skip
    assert (found.background, used.survivors) == (False, 0)


def test_what_outlives_the_window_is_background_work_of_its_tool_call():
    shell = process(2, 1, 10.1, 10.2, "bash\0-c\0make")
    server = process(3, 2, 10.15, 50, "httpd", user_ns=30 * SECOND)
    (first, second) = measured([span(10, 11), span(20, 21, "curl")], [AGENT, shell, server])
    assert (first.background, first.resources.survivors, first.resources.user_s) == (True, 1, 31.0)
    assert first.ended_at_ns == first.window_end_ns
    assert (second.resources.processes, second.resources.source, second.resources.quality) == (0, "taskstats", "none")
    assert (second.resources.cpu_s, second.exit_code_source) == (None, "text")


def test_parallel_tool_calls_are_told_apart_by_their_commands():
    spans = [span(10, 11, "sleep 1; echo 'a'", 0, "shared"), span(10, 11, "make test", 1, "shared")]
    quoted = process(2, 1, 10.2, 10.9, "bash\0-lc\0eval 'sleep 1; echo '\\''a'\\'''", user_ns=3 * SECOND)
    other = process(3, 1, 10.1, 10.8, "sh\0-c\0make test", user_ns=5 * SECOND)
    first, second = measured(spans, [AGENT, other, quoted])
    assert (first.resources.user_s, second.resources.user_s) == (3.0, 5.0)
    assert {found.resources.quality for found in (first, second)} == {"exact"}
    assert (first.resources.idle_s, first.exit_code_source) == (None, "process")


def test_equal_commands_go_to_equal_tool_calls_one_by_one():
    spans = [span(10, 11, "make", 0, "shared"), span(10, 11, "make", 1, "shared")]
    first, second = measured(spans, [AGENT, *(process(2 + n, 1, 10.1 + n / 10, 10.9, "sh\0-c\0make") for n in (0, 1))])
    assert (first.resources.processes, second.resources.processes) == (1, 1)


def test_a_command_that_stands_in_another_one_is_not_that():
    spans = [span(10, 11, "ls", 0, "shared"), span(10, 11, "ls -l", 1, "shared")]
    long, short = (
        process(2, 1, 10.1, 10.9, "sh\0-c\0ls -l", user_ns=3),
        process(3, 1, 10.2, 10.9, "sh\0-c\0ls", user_ns=5),
    )
    first, second = measured(spans, [AGENT, long, short])
    assert (first.resources.cpu_s, second.resources.cpu_s) == (5e-9, 3e-9)


@pytest.mark.parametrize("command", ["make", "echo " + "x" * 5000, ["make", "all"]])
def test_a_command_is_known_beside_a_longer_description_and_however_long_it_is(command):
    one, other = span(10, 11, "sleep 1", 0, "shared"), span(10, 11, "", 1, "shared")
    other = replace(other, arguments=json.dumps({"description": "Build it" * 9, "command": command, "timeout": 5}))
    words = command if isinstance(command, str) else "\0".join(command)
    first, second = measured([one, other], [AGENT, process(2, 1, 10.1, 10.9, f"bash\0-c\0{words}")])
    assert (first.resources.processes, second.resources.processes, second.resources.quality) == (0, 1, "exact")


def test_what_nobody_can_tell_is_of_the_inner_window():
    outer, inner = span(10, 20, "look into it"), span(12, 13, "grep")
    first, second = measured([outer, inner], [AGENT, process(2, 1, 12.5, 12.6)])
    assert (first.resources.processes, second.resources.processes) == (0, 1)
    assert second.resources.quality == "window"


def test_roots_without_a_known_command_go_in_order_and_are_not_called_exact():
    spans = [span(10, 11, "make", 0, "shared"), span(10, 11, "test", 1, "shared")]
    first, second = measured(spans, [AGENT, process(2, 1, 10.1, 10.3), process(3, 1, 10.4, 10.9)])
    assert (first.resources.processes, second.resources.processes) == (1, 1)
    assert {found.resources.quality for found in (first, second)} == {"window"}
    assert first.exit_code_source == "text"


def test_a_tool_that_starts_before_its_answer_has_ended_is_found():
    (found,) = measured([span(10, 11)], [AGENT, process(2, 1, 9.97, 10.5, "sh\0-c\0make")])
    assert found.resources.processes == 1


def test_a_tool_call_that_follows_at_once_does_not_take_the_last_ones_processes():
    first, second = measured([span(10, 10.01), span(10.02, 10.1, "test")], [AGENT, process(2, 1, 10.005, 10.008)])
    assert (first.resources.processes, second.resources.processes) == (1, 0)
    assert first.resources.quality == "exact"


def test_a_shell_that_was_killed_with_the_session_has_no_exit_code_of_its_own():
    shell = process(2, 1, 10.1, None, "sh\0-c\0make", user_ns=None, system_ns=None)
    (found,) = measured([span(10, None)], [AGENT, shell])
    assert (found.resources.processes, found.resources.user_s, found.background) == (1, None, None)
    assert found.exit_code_source == "text"


def test_a_number_that_is_used_again_does_not_inherit():
    shell = process(2, 1, 10.1, 10.2, "sh\0-c\0make")
    agents_own = process(2, 1, 30, 40, "node")
    child = process(3, 2, 31, 32, "rg")
    (found,) = measured([span(10, 11)], [AGENT, shell, agents_own, child])
    assert found.resources.processes == 1


def test_an_agent_that_started_shortly_before_its_first_answer_is_no_tool():
    agent = process(1, None, 9.96, 99, "python\0agent.py")
    shells = [process(2 + n, 1, 10.01 + n / 100, 10.9, f"sh\0-c\0{name}") for n, name in enumerate(("make", "ls"))]
    spans = [span(10, 11, "make", 0, "shared"), span(10, 11, "ls", 1, "shared")]
    first, second = measured([replace(each, answered_ns=EPOCH + 10 * SECOND) for each in spans], [agent, *shells])
    assert (first.resources.processes, second.resources.processes) == (1, 1)
    assert {first.resources.quality, second.resources.quality} == {"exact"}


def test_what_was_there_before_the_agent_is_not_its():
    relay, its_child, agent = process(7, None, 0, 50), process(8, 7, 20, 21), process(1, None, 5, 50)
    assert started_since([relay, agent, its_child], SECOND) == (agent,)


def test_a_figure_that_no_process_has_is_null():
    used = total([Process(1, None, 0)], "proc", "sampled")
    assert (used.user_s, used.peak_rss_bytes, used.storage_read_bytes, used.processes) == (None, None, None, 1)


def test_programs_in_the_shell_of_a_tool_call_are_told_and_the_agents_own_are_not():
    # bash becomes the last program of its command.
    shell = process(2, 1, 10.1, 10.9, "ls", name="ls", shell=True)
    unread = process(3, 2, 10.2, 10.3, "ls", name="rm")
    below = process(4, 3, 10.25, 10.3, "/usr/bin/curl\0x", name="curl")
    own = process(5, 1, 10.5, 10.6, "rm\0/tmp/own", name="rm")
    later = process(6, 1, 12, 13, "rm\0x", name="rm")
    found = started_by([span(10, 11)], [AGENT, shell, unread, below, own, later], EPOCH)
    assert list(found) == [
        Started("r", "ls", ("ls",)),
        Started("r", "rm"),
        Started("r", "curl", ("/usr/bin/curl", "x")),
    ]


def test_samples_tell_of_shells_by_their_words_alone():
    sampled = [process(2, 1, 10.1, 10.9, "/bin/sh\0-c\0make x"), process(3, 2, 10.2, 10.8, "curl\0x")]
    found = started_by([span(10, 11, "other")], [AGENT, *sampled], EPOCH)
    assert [program.name for program in found] == ["sh", "curl"]


def test_a_process_whose_words_are_the_tool_calls_command_is_one_of_its_programs():
    (found,) = started_by([span(10, 11, "rm -f x")], [AGENT, process(2, 1, 10.1, 10.2, "rm\0-f\0x")], EPOCH)
    assert found == Started("r", "rm", ("rm", "-f", "x"))
