"""Agents in podman that get the tools of an MCP server: what they offer to the model is in the captures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

SERVER = Path(__file__).with_name("mcp_server.py")
AGENTS = ("opencode", "claude", "codex")


@pytest.mark.parametrize("agent", AGENTS)
def test_the_tools_of_an_mcp_server_are_offered_to_the_model(project, need, agent):
    need("podman")
    (project.path / "seed").mkdir()
    shutil.copy(SERVER, project.path / "seed" / SERVER.name)
    server = {"command": "python3", "args": ["/work/mcp_server.py"], "env": {"TOOL_NAME": "shout_it"}}
    project.write("servers.json", json.dumps({"mcpServers": {"shouter": server}}))
    project.write_tasks("Say hello in capitals")
    done = project.pytest("--agent", agent, "--workspace", "seed", "--mcp", "servers.json")
    done.assert_outcomes(passed=1)
    [run] = project.runs()
    bodies = [json.loads(path.read_bytes())["body"] for path in run.glob("captures/*.request.json")]
    # A tool's name is nested differently in each API.
    assert "shout_it" in json.dumps([body.get("tools") for body in bodies])
    assert json.loads((run / "run.json").read_bytes())["mcp"] == ["shouter"]
