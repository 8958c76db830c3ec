"""Programs that were seen running below a tool call, held against a policy: text may hide them, the kernel does not."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_agentcap.corpus.repotask import CommandPolicy
from pytest_agentcap.safety.audit import SafetyEvent
from pytest_agentcap.safety.commands import Word
from pytest_agentcap.safety.network import reaches_for_network
from pytest_agentcap.telemetry.attribution import Started

# What the kernel keeps of a program's name.
_NAME_BYTES = 15


def programs_as_events(
    programs: Iterable[Started], policy: CommandPolicy, offline: bool, known: Iterable[SafetyEvent]
) -> list[SafetyEvent]:
    """Return an event for each program of a call that may not be run, or wants the network, and is not told of yet.

    What a policy merely does not list is no event here: allowed programs have helpers of their own.
    """
    told = {(event.rid, event.kind, event.detail.split()[0]) for event in known if event.detail.split()}
    prohibited = {name[:_NAME_BYTES]: name for name in policy.prohibited}
    events = []
    for program in programs:
        words = tuple(Word(text) for text in program.words or (program.name,))
        name, kind = prohibited.get(program.name), "prohibited_command"
        if name is None and offline and reaches_for_network(words):
            name, kind = program.name, "network_attempt"
        if name is not None and (program.request_id, kind, name) not in told:
            told.add((program.request_id, kind, name))
            detail = name if kind == "prohibited_command" else " ".join([name, *program.words[1:2]])
            events.append(SafetyEvent(kind, detail, "telemetry", program.request_id))
    return events
