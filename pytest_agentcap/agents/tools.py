"""Tools that set themselves up for the agent that is to use them."""

from __future__ import annotations

from pathlib import Path

from pytest_agentcap.agents.commands import environment_of
from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.sandbox.base import Command, SandboxError, SandboxSession
from pytest_agentcap.sandbox.tools import SET_UP

_SET_UP_S = 300.0
_TOLD = 300


def set_up_tools(agent: AgentSpec, variables: Variables, box: SandboxSession, mask: Mask, scratch: Path) -> None:
    """Run the script that a folder of tools brings, in the workspace and as the agent.

    Raises SandboxError when it fails: an agent without its tools would be another experiment.
    """
    said = scratch / "tools.out"
    argv = ["sh", "-c", f'exec sh "$AGENTCAP_TOOL_DIR/{SET_UP}"']
    command = Command(argv, environment_of(agent, variables), None, said, said, _SET_UP_S)
    done = box.run(command, lambda: None)
    if done.exit_code != 0:
        how = f"ended with exit code {done.exit_code}" if not done.timed_out else f"took more than {_SET_UP_S:g} s"
        lines = mask.apply(said.read_bytes())[0].decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        raise SandboxError(f"--tool-dir: {SET_UP} {how}: {last[:_TOLD]}")
