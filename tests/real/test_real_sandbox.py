"""Whole sessions in podman: limits, secrets, skills, tools, workspaces, and what is kept of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

AGENT = "test-shell"
IMAGE = f"localhost/agentcap-{AGENT}:latest"
KEY = "sk-never-in-a-sandbox-0123456789"
ANSWER = json.dumps(
    {"choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}], "usage": {}}
).encode()


@pytest.fixture(scope="module", autouse=True)
def remove_image() -> Iterator[None]:
    yield
    subprocess.run(["podman", "image", "rm", "--ignore", IMAGE], capture_output=True, check=False)


@pytest.fixture
def shell(project, need: Callable[[str], None]):
    """A project with an agent that runs its prompt as a shell script, in podman."""
    need("podman")
    project.write_shell_agent()
    folder = project.path / "agents" / "shell"
    definition = (folder / "agent.toml").read_text().replace('name = "shell"', f'name = "{AGENT}"')
    (folder / "agent.toml").write_text('skills = "{{home}}/.shell/skills"\n' + definition)
    (folder / "Containerfile").write_text("FROM localhost/agentcap-base:latest\nUSER agent\n")
    return project


def run(project, *options: str) -> pytest.RunResult:
    return project.pytest("--agent", "shell", "--sandbox", "podman", *options)


SECRETS = """
    import os, subprocess
    from pathlib import Path

    KEY = os.environ["AGENTCAP_API_KEY"].encode()

    def podman(*words):
        return subprocess.run(["podman", *words], capture_output=True, check=True).stdout

    def test_secrets(agent_session):
        outcome = agent_session.run("python3 call hi; env > env.txt; sleep 300 & cat /proc/*/cmdline > lines.txt")
        outcome.check()
        listed = podman("ps", "--quiet", "--no-trunc", "--filter", "label=agentcap.agent=test-shell").split()
        assert len(listed) == 1
        container = listed[0].decode()
        assert KEY not in podman("inspect", container)
        main = podman("inspect", "--format", "{{.State.Pid}}", container).decode().strip()
        space = os.readlink(f"/proc/{main}/ns/pid")
        inside = [p for p in Path("/proc").glob("[0-9]*") if space_of(p) == space]
        assert len(inside) >= 3
        for process in inside:
            assert KEY not in (process / "environ").read_bytes()
            assert KEY not in (process / "cmdline").read_bytes()
        # podman and its monitors are started by us, with whatever they are given on their command lines.
        for process in Path("/proc").glob("[0-9]*"):
            name = read(process / "comm").strip()
            if name in (b"podman", b"conmon", b"runc", b"crun"):
                assert KEY not in read(process / "cmdline"), name
        exported = subprocess.Popen(["podman", "export", container], stdout=subprocess.PIPE)
        seen, tail = 0, b""
        while piece := exported.stdout.read(1 << 22):
            assert KEY not in tail + piece
            seen, tail = seen + len(piece), piece[-len(KEY):]
        assert exported.wait() == 0 and seen > 100 << 20
        # The search would have found it.
        assert b"AGENTCAP_PROXY_URL" in (outcome.workspace / "env.txt").read_bytes()

    def space_of(process):
        try:
            return os.readlink(process / "ns/pid")
        except OSError:
            return None

    def read(path):
        try:
            return path.read_bytes()
        except OSError:
            return b""
"""


def test_no_secret_is_in_the_container(shell, http_upstream, monkeypatch):
    monkeypatch.setenv("AGENTCAP_API_KEY", KEY)
    shell.write("test_secrets.py", SECRETS)
    with http_upstream(lambda path: (200, ANSWER)) as upstream:
        run(shell, "--model", "m", "--upstream", upstream.url).assert_outcomes(passed=1)
    assert f"Bearer {KEY}" in [headers.get("authorization") for _, headers in upstream.seen]
    [kept] = shell.runs()
    assert not [path for path in kept.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_skills_and_tools_can_be_read_and_not_written(shell):
    shell.write("bundle/skills/greet/SKILL.md", "Say hello.\n")
    shell.write("bundle/agents/AGENTS.md", "There are skills.\n")
    # As the scripts of a Python environment do, it names its interpreter by the path on this machine.
    shell.write("tools/bin/greet", f"#!{shell.path}/tools/bin/sh\necho from the tool\n").chmod(0o755)
    (shell.path / "tools/bin/sh").symlink_to("/bin/sh")
    shell.write("tools/tool_init.sh", 'echo "$AGENTCAP_AGENT" > .tools\n')
    shell.path.chmod(0o755)
    prompt = "python3 call hi; cat ~/.shell/skills/greet/SKILL.md AGENTS.md .tools; greet; "
    prompt += 'echo "$AGENTCAP_SKILLS_DIR" "$AGENTCAP_TOOL_BIN"; '
    prompt += 'touch "$AGENTCAP_SKILLS_DIR/x" ~/.shell/skills/greet/x "$AGENTCAP_TOOL_BIN/x" || echo read-only'
    shell.write_jsonl({"id": "a", "input": prompt})
    run(shell, "--skills", "bundle", "--tool-dir", "tools").assert_outcomes(passed=1)
    [result] = shell.results()
    assert result["turns"][0]["reply"].splitlines()[-6:] == [
        *("Say hello.", "There are skills.", AGENT, "from the tool"),
        "/opt/agentcap/skills /opt/agentcap/tools/bin",
        "read-only",
    ]
    assert result["changed_files"] == 0


def test_a_workspace_from_git_and_its_patch(shell):
    origin = shell.write("origin/a.txt", "one\n").parent
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *identity, *words], cwd=origin, check=True)
    prompt = "python3 call hi; git log --format=%s; git status --porcelain; echo two > a.txt; "
    prompt += (
        "git config core.fsmonitor 'touch /tmp/pwned'; mkfifo pipe; ln -s /etc/passwd link; head -c 5000 /dev/zero > z"
    )
    shell.write_jsonl({"id": "a", "input": prompt})
    run(shell, "--workspace", "origin@main").assert_outcomes(passed=1)
    [result] = shell.results()
    assert result["turns"][0]["reply"].splitlines()[-2:] == ["first", "?? call"]
    [kept] = shell.runs()
    patch = (kept / result["patch"]).read_bytes()
    assert result["changed_files"] == 3
    assert b"-one\n+two\n" in patch
    assert b"+/etc/passwd\n\\ No newline" in patch
    assert b"GIT binary patch" in patch
    assert not Path("/tmp/pwned").exists()


def test_a_corpus_that_asks_for_the_network_gets_it_and_no_other_does(shell):
    for name in ("open", "locked"):
        shell.write_tasks("python3 call hi; ls /sys/class/net | tr '\\n' ' '", name=f"{name}/tasks.txt")
    shell.write("open/conftest.py", (Path(__file__).parents[2] / "corpora/hf-hub/conftest.py").read_text())
    done = run(shell, "open", "locked", "-n2")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(
        [
            "agentcap: sandbox podman, network model (the proxy only)",
            "agentcap: network open (the internet too) for open",
        ]
    )
    found = {result["corpus"]: result for result in shell.results()}
    assert {name: result["network"] for name, result in found.items()} == {"open": "open", "locked": "model"}
    assert "eth0" in found["open"]["turns"][0]["reply"]
    assert "eth0" not in found["locked"]["turns"][0]["reply"]
    assert shell.manifests()[0]["network"] == "model, open"


def test_what_the_agent_wrote_is_graded_in_a_container_without_network(shell):
    tests = "test_reach.py"
    reach = "curl -s -m 5 http://127.0.0.1:8400/x/v1/models; proxy=$?; curl -s -m 5 http://1.1.1.1; "
    reach += "echo $((proxy != 0)) $?"
    shell.write_jsonl(
        {"id": "good", "input": f"python3 call hi; echo 'print(6 * 7)' > {tests}", "metadata": {"command": reach}},
        {
            "id": "bad",
            "input": "python3 call hi; ln -s /etc/passwd link",
            "metadata": {"command": "python3 test_reach.py"},
        },
        {"id": "stuck", "input": "python3 call hi", "metadata": {"command": ["sleep", "600"]}},
    )
    shell.write("conftest.py", "import pytest\n\n\n@pytest.fixture\ndef grader():\n    return 'command'\n")
    done = run(shell, "--grader-timeout", "5")
    done.assert_outcomes(passed=1, failed=2)
    results = {result["task_id"]: result for result in shell.results()}
    good, bad, stuck = (results[name] for name in ("good", "bad", "stuck"))
    assert good["graders"][0]["reasoning"] == "exit code 0; its last line on stdout: 1 7"
    assert (bad["verdict"], bad["graders"][0]["outcome"]) == ("failed", {"exit_code": 2})
    assert stuck["reason"].startswith("grader command: did not finish within 5 s")
    assert stuck["verdict"] == "grader_error"
    left = subprocess.run(
        ["podman", "ps", "-aq", "--filter", "label=agentcap.agent=test-shell"], capture_output=True, check=True
    )
    assert left.stdout == b""
