"""Telemetry of known loads in real containers: what a tool call did is what its figures say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.telemetry.exits import ExitDaemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

MB = 1 << 20
LOOP_1_S = "python3 -c 'import time\ne = time.process_time() + 1\nwhile time.process_time() < e: pass'"
LOADS = {
    "large": f"python3 -c 'x = bytearray({200 * MB})'",
    "nothing": "true",
    "foreground": LOOP_1_S,
    "background": f"({LOOP_1_S} >/dev/null 2>&1 &)",
    "written": "dd if=/dev/zero of=written bs=1M count=20",
    "synced": "dd if=/dev/zero of=synced bs=1M count=20 conv=fsync",
    "cached": "cat synced >/dev/null",
    "dropped": "dd if=synced iflag=nocache count=0",
    "uncached": "cat synced >/dev/null",
    "many": "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done; exit 3",
    "idle": "sleep 1.5",
}


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def run(*options: str, agent: str = "loop") -> list[dict[str, Any]]:
        words = ("-p", "agentcap", "-p", "no:cacheprovider", "--agent", agent, "prompts.jsonl", *options)
        command = [sys.executable, "-m", "pytest", f"--rootdir={tmp_path}", *words]
        environment = {**os.environ, "AGENTCAP_WORKSPACE": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=540)
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(path.read_bytes()) for path in tmp_path.glob(".agentcap/*/results/*.json")]

    return run


@pytest.fixture
def listens(tmp_path_factory: pytest.TempPathFactory) -> None:
    daemon = ExitDaemon.start(tmp_path_factory.mktemp("d"))
    if daemon is None:
        pytest.skip("exit records are for root in the initial namespaces of Linux")
    daemon.close()


def write_loads(folder: Path) -> None:
    task = {"id": "loads", "input": "Make loads", "reference": "\n\n".join(LOADS.values())}
    (folder / "prompts.jsonl").write_text(json.dumps(task) + "\n")


def spans_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [span for call in result["telemetry"]["calls"].values() for span in call["tools"]]


@pytest.mark.parametrize("sandbox", ["podman", "host"])
def test_exit_records_tell_what_each_tool_call_used(
    sandbox: str,
    tmp_path: Path,
    results: Callable[..., list[dict[str, Any]]],
    need: Callable[[str], None],
    listens: None,
) -> None:
    need("podman")
    write_loads(tmp_path)
    (result,) = results("--sandbox", sandbox)
    spans = dict(zip(LOADS, spans_of(result), strict=True))
    used = {name: span["resources"] for name, span in spans.items()}
    assert {(each["source"], each["quality"]) for each in used.values()} == {("taskstats", "exact")}
    assert {span["timing"] for span in spans.values()} == {"process"}

    assert 200 * MB < used["large"]["peak_rss_bytes"] < 260 * MB
    assert used["nothing"]["peak_rss_bytes"] < 20 * MB
    for name in ("foreground", "background"):
        assert 0.9 < used[name]["user_s"] + used[name]["system_s"] < 1.6
    assert (spans["foreground"]["background"], used["foreground"]["survivors"]) == (False, 0)
    assert (spans["background"]["background"], used["background"]["survivors"]) == (True, 1)
    for name in ("written", "synced"):
        assert 20 * MB <= used[name]["syscall_write_bytes"] < 21 * MB
        assert 20 * MB <= used[name]["storage_write_bytes"] < 22 * MB
    for name in ("cached", "uncached"):
        assert 20 * MB <= used[name]["syscall_read_bytes"] < 22 * MB
    assert used["cached"]["storage_read_bytes"] < 2 * MB
    assert 20 * MB <= used["uncached"]["storage_read_bytes"] < 23 * MB
    assert 500 <= used["many"]["processes"] <= 502
    assert (spans["many"]["exit_code"], spans["many"]["exit_code_source"]) == (3, "process")
    assert used["idle"]["user_s"] + used["idle"]["system_s"] < 0.2
    assert used["idle"]["wall_s"] > 1.4

    told = result["telemetry"]
    assert told["source"] == "taskstats"
    if sandbox == "podman":
        assert 0.8 < told["coverage"] < 1.1
    assert told["turns"][0]["processes"] > 510


def test_without_exit_records_the_control_group_and_samples_tell(
    tmp_path: Path,
    results: Callable[..., list[dict[str, Any]]],
    need: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need("podman")
    write_loads(tmp_path)
    (tmp_path / "no_daemon.py").write_text(
        "from pytest_agentcap.telemetry.exits import ExitDaemon\nExitDaemon.start = lambda folder: None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (result,) = results("-p", "no_daemon")
    used = dict(zip(LOADS, (span["resources"] for span in spans_of(result)), strict=True))
    assert {(each["source"], each["quality"]) for each in used.values()} == {("cgroup", "window")}
    assert 0.9 < used["foreground"]["user_s"] + used["foreground"]["system_s"] < 2
    assert used["nothing"]["peak_rss_bytes"] is None or used["nothing"]["peak_rss_bytes"] < 100 * MB
    assert result["telemetry"]["coverage"] is None


# Asks the model until it is done; all tool calls of an answer run at once.
PARALLEL_AGENT = {
    "agent.toml": """
        name = "parallel"
        version = "1"
        api = "chat"
        executable = "python3"
        [command]
        first = ["python3", "{{home}}/parallel.py", "{{base_url}}/chat/completions"]
        next = ["python3", "{{home}}/parallel.py", "{{base_url}}/chat/completions"]
        prompt = "stdin"
        [session]
        id = "chosen"
        [[files]]
        template = "parallel.py"
        path = "{{home}}/parallel.py"
    """,
    "Containerfile": "FROM localhost/agentcap-base:latest\nUSER agent\n",
    "parallel.py": """
        import json, subprocess, sys, urllib.request
        messages = [{"role": "user", "content": sys.stdin.read()}]
        while True:
            tools = [{"type": "function", "function": {"name": "bash", "parameters": {}}}]
            body = json.dumps({"model": "m", "messages": messages, "tools": tools}).encode()
            request = urllib.request.Request(sys.argv[1], body, {"content-type": "application/json"})
            said = json.load(urllib.request.urlopen(request))["choices"][0]["message"]
            calls = said.get("tool_calls")
            if not calls:
                break
            commands = [json.loads(call["function"]["arguments"])["command"] for call in calls]
            running = [subprocess.Popen(["bash", "-c", command]) for command in commands]
            results = [
                {"role": "tool", "tool_call_id": call["id"], "content": f"exit code: {process.wait()}"}
                for call, process in zip(calls, running)
            ]
            messages += [said, *results]
    """,
}
# Each lives for seconds: on a busy machine the words of a shell that has ended could not be read in time.
AT_ONCE = {"sleep": "sleep 4; exit 4", "loop": f"sleep 2; {LOOP_1_S}", "memory": f"sleep 2; {LOADS['large']}"}


@pytest.fixture
def parallel_agent(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "agents" / "parallel"
    folder.mkdir(parents=True)
    for name, text in PARALLEL_AGENT.items():
        (folder / name).write_text(textwrap.dedent(text))
    yield str(folder / "agent.toml")
    subprocess.run(["podman", "rmi", "--force", "localhost/agentcap-parallel"], capture_output=True)


def answers() -> Callable[[str], tuple[int, bytes]]:
    """Answer the first request with all tool calls at once, and the second with a word."""
    # A description beside the command is longer than it, as with some agents.
    arguments = {name: json.dumps({"description": "as is said " * 30, "command": c}) for name, c in AT_ONCE.items()}
    calls = [
        {"id": name, "type": "function", "function": {"name": "bash", "arguments": text}}
        for name, text in arguments.items()
    ]
    messages = iter(({"content": None, "tool_calls": calls}, {"content": "done"}))

    def answer(path: str) -> tuple[int, bytes]:
        if not path.endswith("/chat/completions"):
            return 404, b"{}"
        return 200, json.dumps({"choices": [{"message": {"role": "assistant", **next(messages)}}]}).encode()

    return answer


def test_tool_calls_that_run_at_once_have_each_its_own_figures(
    tmp_path: Path,
    results: Callable[..., list[dict[str, Any]]],
    need: Callable[[str], None],
    http_upstream: Callable[..., Any],
    parallel_agent: str,
    listens: None,
) -> None:
    need("podman")
    (tmp_path / "prompts.jsonl").write_text('{"id": "all", "input": "Do all"}\n')
    with http_upstream(answers()) as upstream:
        (result,) = results("--model", "m", "--upstream", upstream.url, agent=parallel_agent)
    spans = {span["call_id"]: span for span in spans_of(result)}
    used = {name: span["resources"] for name, span in spans.items()}
    assert {(each["source"], each["quality"]) for each in used.values()} == {("taskstats", "exact")}
    cpu = {name: each["user_s"] + each["system_s"] for name, each in used.items()}
    assert len({span["window_start_ns"] for span in spans.values()}) == 1
    assert max(span["started_at_ns"] for span in spans.values()) < min(span["ended_at_ns"] for span in spans.values())
    assert 0.9 < cpu["loop"] < 1.6
    assert cpu["sleep"] < 0.3
    assert 200 * MB < used["memory"]["peak_rss_bytes"] < 260 * MB
    assert max(used[name]["peak_rss_bytes"] for name in ("loop", "sleep")) < 50 * MB
    assert [(span["exit_code"], span["exit_code_source"]) for span in spans.values()] == [
        *((4, "process"), (0, "process"), (0, "process")),
    ]
