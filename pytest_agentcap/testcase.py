"""The test function of every corpus file."""

from __future__ import annotations

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.session import AgentSession


def test_task(agent_session: AgentSession, task: Task) -> None:
    """Fail unless the agent made a model call, ended well and, where there is a grader, passed."""
    outcome = agent_session.run(task)
    outcome.check()
