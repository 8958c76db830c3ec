from __future__ import annotations

import json
import tomllib

import msgspec
import pytest

from pytest_agentcap.agents.commands import agent_files
from pytest_agentcap.agents.find import find_agent
from pytest_agentcap.agents.mcp import read_servers, with_servers
from pytest_agentcap.agents.spec import AgentError, AgentFile, CommandLines, McpShape, McpWay

SERVERS = {
    "files": {"command": "npx", "args": ["-y", "files", "/work"], "env": {"KEY": 'a"b\n'}},
    "bare": {"command": "server"},
    "far": {"type": "sse", "url": "https://mcp.example/sse", "headers": {"X-Key": "k"}},
}


class Box:
    home, workspace, proxy_origin = "/home/agent", "/work", "http://127.0.0.1:1"


def servers_of(tmp_path, servers=SERVERS):
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return read_servers(path)


def agent_of(tmp_path, way: McpWay, template: str | None = None):
    """Return an agent that takes servers this way; its configuration at that path is the template."""
    files = ()
    if template is not None:
        (tmp_path / "template").write_text(template)
        files = (AgentFile(way.path, template="template"),)
    lines = CommandLines(("own", "-p", "--", "{{prompt}}"), ("own", "-r"), "argument")
    loop = find_agent("loop", tmp_path)
    return msgspec.structs.replace(loop, command=lines, files=files, mcp=way, folder=tmp_path)


def written(agent, path: str) -> bytes:
    return [data for place, data in agent_files(agent, "org/m", Box(), "lease") if place == path][-1]


def test_servers_join_what_a_json_template_has_in_the_shape_of_opencode(tmp_path):
    agent = with_servers(find_agent("opencode", tmp_path), servers_of(tmp_path))
    document = json.loads(written(agent, "/home/agent/.config/agentcap/opencode.json"))
    assert document["model"] == "local/org/m"
    assert document["mcp"] == {
        "files": {
            "type": "local",
            "enabled": True,
            "command": ["npx", "-y", "files", "/work"],
            "environment": {"KEY": 'a"b\n'},
        },
        "bare": {"type": "local", "enabled": True, "command": ["server"]},
        "far": {
            "type": "remote",
            "enabled": True,
            "url": "https://mcp.example/sse",
            "headers": {"X-Key": "k"},
        },
    }


def test_servers_join_the_tables_of_a_toml_template(tmp_path):
    way = McpWay("{{home}}/config.toml", "toml", "mcp_servers", shape=McpShape(headers="http_headers"))
    template = 'model = "{{model}}"\n[mcp_servers.own]\ncommand = "o"\n'
    agent = with_servers(agent_of(tmp_path, way, template), servers_of(tmp_path))
    document = tomllib.loads(written(agent, "/home/agent/config.toml").decode())
    assert document["model"] == "org/m"
    assert set(document["mcp_servers"]) == {"own", "files", "bare", "far"}
    assert document["mcp_servers"]["files"] == SERVERS["files"]
    assert document["mcp_servers"]["far"]["http_headers"] == {"X-Key": "k"}


def test_servers_join_a_list_of_a_yaml_template_below_a_dotted_key(tmp_path):
    way = McpWay("{{home}}/c.yaml", "yaml", "a.servers", entries="listed", shape=McpShape(transport="type"))
    template = "a:\n  servers:\n    - name: own\nb: 1\n"
    agent = with_servers(agent_of(tmp_path, way, template), servers_of(tmp_path))
    document = msgspec.yaml.decode(written(agent, "/home/agent/c.yaml"))
    assert document["b"] == 1
    assert [(entry["name"], entry.get("type")) for entry in document["a"]["servers"]] == [
        ("own", None),
        ("files", "stdio"),
        ("bare", "stdio"),
        ("far", "sse"),
    ]


def test_without_a_template_a_file_is_made_and_its_option_stands_before_the_prompt(tmp_path):
    way = McpWay("{{home}}/servers.json", arguments=("--mcp-config", "{{home}}/servers.json"))
    agent = with_servers(agent_of(tmp_path, way), servers_of(tmp_path, {"bare": {"command": "server"}}))
    assert json.loads(written(agent, "/home/agent/servers.json")) == {"mcpServers": {"bare": {"command": "server"}}}
    option = ("--mcp-config", "{{home}}/servers.json")
    assert agent.command.first == ("own", "-p", *option, "--", "{{prompt}}")
    assert agent.command.next == ("own", "-r", *option)


def test_an_agent_that_takes_programs_only_refuses_a_url(tmp_path):
    agent = agent_of(tmp_path, McpWay("{{home}}/s.json", shape=McpShape(url="")))
    with pytest.raises(AgentError, match=r"mcpServers\.far: the agent loop cannot take a server by its URL"):
        with_servers(agent, servers_of(tmp_path))


def test_an_agent_that_cannot_take_servers_is_a_usage_error(project):
    project.write("servers.json", json.dumps({"mcpServers": SERVERS}))
    project.write_tasks("hello")
    done = project.capture("--mcp", "servers.json")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*--mcp */servers.json: the agent loop cannot take MCP servers: *"])
    assert not project.runs()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "Object missing required field `mcpServers`"),
        ({"mcpServers": {}}, "mcpServers: empty"),
        ({"mcpServers": {"a": {"args": []}}}, "mcpServers.a: give either command or url"),
        ({"mcpServers": {"a": {"command": "x", "url": "http://y"}}}, "mcpServers.a: give either command or url"),
        (
            {"mcpServers": {"a": {"command": "x", "disabled": True}}},
            "unknown field `disabled` - at `$.mcpServers.a`",
        ),
        (
            {"mcpServers": {"a": {"command": "x"}, "b": {"command": "x", "env": {"C": "1", "D": 2}}}},
            "Expected `str`, got `int` - at `$.mcpServers.b.env.D`",
        ),
    ],
)
def test_an_error_names_file_and_key(tmp_path, document, said):
    path = tmp_path / "servers.json"
    path.write_text(json.dumps(document))
    with pytest.raises(AgentError) as error:
        read_servers(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


SPELLED = {
    "claude": {"type": "stdio", "command": "npx", "args": ["-y", "files", "/work"], "env": {"KEY": 'a"b\n'}},
    "codex": SERVERS["files"],
    "continue": {"name": "files", **SERVERS["files"]},
    "gemini": SERVERS["files"],
    "hermes": SERVERS["files"],
    "openhands": {"transport": "stdio", **SERVERS["files"]},
    "qwen": SERVERS["files"],
    "vibe": {"name": "files", "transport": "stdio", **SERVERS["files"]},
}


@pytest.mark.parametrize("name", SPELLED)
def test_a_shipped_agent_finds_a_server_in_its_own_configuration(tmp_path, name):
    plain = find_agent(name, tmp_path)
    agent = with_servers(plain, servers_of(tmp_path, {"files": SERVERS["files"]}))
    way = agent.mcp
    data = written(agent, way.path.replace("{{home}}", Box.home))
    decode = {"json": json.loads, "toml": msgspec.toml.decode, "yaml": msgspec.yaml.decode}[way.format]
    document = decode(data)
    servers = document.pop(way.key)
    assert (servers[0] if way.entries == "listed" else servers["files"]) == SPELLED[name]
    templates = [place for place, _ in agent_files(plain, "org/m", Box(), "lease")]
    assert bool(document) == (way.path.replace("{{home}}", Box.home) in templates)
