"""A task's `max_commands` holds for what answers ask for, however many tool calls stand in one of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_agentcap.command_limit import CommandLimit, CommandWatch
from pytest_agentcap.runs.layout import RunDirectory


@pytest.fixture
def watched(tmp_path, new_session):
    """Make a lease whose answers asked for so many tool calls each, and the watch over it."""

    def make(most: int, *asked: int) -> tuple[SimpleNamespace, CommandWatch]:
        run = RunDirectory(tmp_path / ".agentcap" / "run")
        session = new_session("s")
        records = [
            session.call([session.user("x")], session.says("", *((f"c{n}", {}) for n in range(count))))
            for count in asked
        ]
        session.save(run)
        calls = [SimpleNamespace(rid=record.rid, duration_ms=1.0, error=None) for record in records]
        lease: Any = SimpleNamespace(calls=calls, closed=None, gate=None)
        return lease, CommandWatch(lease, run.captures, most)

    return make


def test_as_many_tool_calls_as_are_allowed_are_none_too_many(watched):
    lease, watch = watched(3, 1, 0, 2)
    watch.check()
    watch.check()
    assert lease.closed is None
    asyncio.run(lease.gate())


@pytest.mark.parametrize("asked", [(4,), (1, 1, 2), (0, 3, 1)])
def test_one_more_closes_the_lease_wherever_it_stands(watched, asked):
    lease, watch = watched(3, *asked)
    with pytest.raises(CommandLimit, match="the model asked for 4 tool calls, and 3 are allowed"):
        watch.check()
    assert lease.closed.startswith("max_commands: ")
    # The proxy asks at the gate, and refuses at once.
    asyncio.run(lease.gate())


def test_a_call_in_flight_and_one_without_an_answer_count_for_nothing(watched):
    lease, watch = watched(1, 1)
    lease.calls.append(SimpleNamespace(rid="f" * 32, duration_ms=None, error=None))
    watch.check()
    watch.settle()
    assert lease.closed is None
