from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.agents.find import agent_stem, find_agent
from pytest_agentcap.agents.line import read_line
from pytest_agentcap.agents.spec import AgentError

CALL = """
    import json, os, sys, urllib.request
    prompt = sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read()
    body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": prompt}]}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request).read()
    print(prompt.upper())
"""


def test_the_prompt_is_one_argument_where_it_is_named(tmp_path: Path) -> None:
    agent = read_line("cmd:claude -p {prompt} --model={{model}}", tmp_path)

    assert agent.command.first == ("claude", "-p", "{{prompt}}", "--model={{model}}")
    assert (agent.command.next, agent.command.prompt, agent.name) == ((), "argument", "claude")


def test_the_prompt_is_standard_input_where_it_is_not_named(tmp_path: Path) -> None:
    agent = read_line("cmd:./bin/agent 'two words'", tmp_path)

    assert (agent.command.first, agent.command.prompt) == (("./bin/agent", "two words"), "stdin")
    assert agent.version != read_line("cmd:./bin/agent", tmp_path).version


@pytest.mark.parametrize("text", ["cmd:", "cmd:   ", "cmd:{prompt}", "cmd:'open", "cmd:a {{nothing}}"])
def test_a_line_that_is_no_command_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(AgentError):
        read_line(text, tmp_path)


def test_it_is_found_by_its_prefix_and_named_in_ids() -> None:
    assert find_agent("cmd:cat {prompt}", Path()).on_host_only
    assert agent_stem("cmd:/usr/bin/claude -p {prompt}") == "claude"
    assert agent_stem("cmd:") == "cmd"


@pytest.mark.parametrize("ending", ["", " {prompt}"])
def test_no_shell_ever_sees_a_prompt(project, ending: str) -> None:
    project.write("agent.py", CALL)
    prompt = "say $(touch pwned) `id` $HOME; 'quoted' {prompt} {{model}} $&"
    project.write_jsonl({"id": "a", "input": prompt})
    done = project.pytest("--agent", f"cmd:python3 agent.py{ending}", "--sandbox", "host")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["agentcap: python3 command-* -> the scripted model"])
    [result] = project.results()
    assert result["turns"][0]["reply"].strip() == prompt.upper()
    [run] = project.runs()
    [request] = [json.loads(path.read_bytes()) for path in run.glob("captures/*.request.json")]
    assert request["body"]["messages"][0]["content"] == prompt


def test_it_runs_on_this_machine_only(project) -> None:
    project.write_tasks("hi")
    done = project.pytest("--agent", "cmd:cat {prompt}")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["ERROR: *cmd:cat {prompt} runs on this machine only: pass --sandbox host"])
