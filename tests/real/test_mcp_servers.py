"""Agents in podman that get an MCP server and skills: what they tell the model of these is in the captures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

SERVER = Path(__file__).with_name("mcp_server.py")
SKILL = "---\nname: kingfisher-lore\ndescription: Knows all about the halcyon.\n---\n\nIt dives.\n"
AGENTS = ("opencode", "claude", "codex")


@pytest.mark.parametrize("agent", AGENTS)
def test_the_tools_of_an_mcp_server_and_the_skills_of_a_folder_are_told_to_the_model(project, need, agent):
    need("podman")
    (project.path / "seed").mkdir()
    shutil.copy(SERVER, project.path / "seed" / SERVER.name)
    server = {"command": "python3", "args": ["/work/mcp_server.py"], "env": {"TOOL_NAME": "shout_it"}}
    project.write("servers.json", json.dumps({"mcpServers": {"shouter": server}}))
    project.write("bundle/skills/kingfisher-lore/SKILL.md", SKILL)
    project.write_tasks("Say hello in capitals")
    done = project.pytest("--agent", agent, "--workspace", "seed", "--mcp", "servers.json", "--skills", "bundle")
    done.assert_outcomes(passed=1)
    [run] = project.runs()
    bodies = [json.loads(path.read_bytes())["body"] for path in run.glob("captures/*.request.json")]
    assert "halcyon" in json.dumps(bodies)
    # A tool's name is nested differently in each API.
    assert "shout_it" in json.dumps([body.get("tools") for body in bodies])
    assert json.loads((run / "run.json").read_bytes())["mcp"] == ["shouter"]
