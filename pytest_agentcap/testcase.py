"""The test function of every corpus file."""

from __future__ import annotations

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.session import AgentSession


def test_task(agent_session: AgentSession, task: Task) -> None:
    outcome = agent_session.run(task)
    outcome.check()
    assert outcome.calls
