"""Programs that were seen running count where a call's text did not tell of them."""

from __future__ import annotations

from pytest_agentcap.corpus.repotask import CommandPolicy
from pytest_agentcap.safety.audit import SafetyEvent
from pytest_agentcap.safety.processes import programs_as_events
from pytest_agentcap.safety.toolcalls import Commands
from pytest_agentcap.telemetry.attribution import Started

POLICY = CommandPolicy(allowed=("ls",), prohibited=("rm", "systemd-inhibit-all"))


def told(*programs: Started, known: tuple[SafetyEvent, ...] = (), offline: bool = True) -> list[tuple[str, ...]]:
    events = programs_as_events(programs, POLICY, offline, known)
    assert {event.source for event in events} <= {"telemetry"}
    return [(event.kind, event.detail, str(event.rid)) for event in events]


def test_a_prohibited_program_is_told_once_for_each_call_of_the_model():
    seen = [Started("r1", "rm"), Started("r1", "rm", ("rm", "x")), Started("r2", "rm")]
    assert told(*seen) == [("prohibited_command", "rm", "r1"), ("prohibited_command", "rm", "r2")]
    assert told(*seen, known=(SafetyEvent("prohibited_command", "rm", rid="r1"),)) == [
        ("prohibited_command", "rm", "r2")
    ]


def test_a_name_of_which_the_kernel_keeps_a_part_is_known():
    assert told(Started("r", "systemd-inhibit")) == [("prohibited_command", "systemd-inhibit-all", "r")]


def test_a_program_that_wants_the_network_is_told_where_there_is_to_be_none():
    seen = [Started("r", "curl"), Started("r", "git", ("git", "fetch", "origin")), Started("r", "git", ("git", "log"))]
    assert told(*seen) == [("network_attempt", "curl", "r"), ("network_attempt", "git fetch", "r")]
    assert told(*seen, offline=False) == []
    assert told(seen[0], known=(SafetyEvent("network_attempt", "curl http://x", rid="r"),)) == []


def test_helpers_of_allowed_programs_are_no_events():
    assert told(Started("r", "less"), Started("r", "sh", ("sh", "-c", "true"))) == []


def test_a_command_that_hid_a_program_in_its_text_is_not_ok():
    commands = Commands(4, {"r1": 2, "r2": 1})
    assert (commands.ok(), commands.ok(["r1", "r1", "r3", None])) == (3, 2)
