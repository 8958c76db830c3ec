"""What sessions start with and what they leave, on the host sandbox."""

from __future__ import annotations

import subprocess

import pytest

CHANGES = [
    {
        "id": "changes",
        "input": "python3 call hi; echo two > a.txt; rm b.txt; echo new > 'c d.txt'; mkdir x; echo > x/y",
    },
    {"id": "nothing", "input": "python3 call hi; cat a.txt"},
    {"id": "fails", "input": "python3 call hi; echo half > a.txt; exit 3"},
    {"id": "slow", "input": "python3 call hi; echo half > a.txt; sleep 600", "timeout": 3000},
    {"id": "tells", "input": "python3 call hi; echo $AGENTCAP_PROXY_URL > a.txt"},
]


def test_each_sessions_changes_are_kept_however_it_ended(project):
    project.write_shell_agent()
    project.write_jsonl(*CHANGES)
    for name in ("a.txt", "b.txt"):
        project.write(f"seed/{name}", "one\n")
    project.pytest("--agent", "shell", "--sandbox", "host", "--workspace", "seed", "-n2")
    results = {result["session"]: result for result in project.results()}
    assert {name: result["changed_files"] for name, result in results.items()} == {
        "changes": 4,
        "nothing": 0,
        "fails": 1,
        "slow": 1,
        "tells": 1,
    }
    [run] = project.runs()
    patches = {name: (run / result["patch"]).read_text() for name, result in results.items()}
    assert patches["nothing"] == ""
    assert "-one\n+half\n" in patches["slow"]
    assert patches["fails"] == patches["slow"]
    # The agent's own file in the workspace is ours and no change; what it was told to keep to itself is masked.
    assert "call" not in patches["changes"]
    assert "/<lease>/v1\n" in patches["tells"]
    assert (project.path / "seed/a.txt").read_text() == "one\n"
    assert not (project.path / "seed/call").exists()
    subprocess.run(["git", "init", "-q"], cwd=project.path / "seed", check=True)
    subprocess.run(["git", "apply", "-"], cwd=project.path / "seed", input=patches["changes"], text=True, check=True)
    assert sorted(path.name for path in (project.path / "seed").iterdir()) == [".git", "a.txt", "c d.txt", "x"]


def test_a_session_that_never_began_has_no_patch(project):
    project.write_tasks("hello")
    project.write("conftest.py", "import pytest\n@pytest.fixture\ndef workspace_source():\n    return 'nowhere@main'\n")
    result = project.capture()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*--workspace nowhere@main: there is neither a folder nor a repository nowhere*"])
    # One line, without the errors that it was made from.
    result.stdout.no_fnmatch_line("*exception*")
    assert project.runs() == []


def test_without_git_a_session_is_captured_and_its_patch_is_told_to_be_missing(project, monkeypatch, tmp_path):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": "python3 call hi; echo x > y"})
    project.write("conftest.py", "import os\nos.environ['PATH'] = os.environ['ONLY']\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "python3", "sleep"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("ONLY", str(programs))
    project.pytest("--agent", "shell", "--sandbox", "host").assert_outcomes(passed=1)
    [result] = project.results()
    assert (result["verdict"], result["patch"], result["changed_files"]) == ("captured", None, None)
    assert "no patch: git is not installed on this machine" in result["notes"]


@pytest.fixture
def origin(project):
    folder = project.write("origin/a.txt", "one\n").parent
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first"], ["tag", "v1"]):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True)
    return folder


def test_a_workspace_from_git_is_a_checkout_and_its_commit_is_known(project, origin):
    project.write_shell_agent()
    project.write_jsonl(
        {"id": "looks", "input": "python3 call hi; git log --format=%s; git rev-parse HEAD"},
        {
            "id": "commits",
            "input": "python3 call hi; echo two > a.txt; git -c user.name=a -c user.email=a commit -qam second",
        },
    )
    done = project.pytest("--agent", "shell", "--sandbox", "host", "--workspace", "origin@v1", "-n2")
    done.assert_outcomes(passed=2)
    head = subprocess.run(["git", "rev-parse", "v1"], cwd=origin, capture_output=True, text=True, check=True).stdout
    results = {result["session"]: result for result in project.results()}
    assert {result["workspace_commit"] for result in results.values()} == {head.strip()}
    assert results["looks"]["workspace"].endswith("origin@v1")
    assert results["looks"]["turns"][0]["reply"].splitlines()[-2:] == ["first", head.strip()]
    [run] = project.runs()
    # A change that the agent committed is a change all the same.
    assert "-one\n+two\n" in (run / results["commits"]["patch"]).read_text()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ("--workspace", "origin@no-such"),
            "*--workspace *origin@no-such: 'no-such' is no branch, tag or commit of it",
        ),
        (("--workspace", "nowhere"), "*--workspace nowhere: there is no such folder; a git repository is given as *"),
        (("--skills", "nowhere"), "*--skills nowhere: there is no such folder"),
        (("--skills", "origin"), "*--skills origin: there is no skills/[*]/SKILL.md in it"),
        (("--tool-dir", "origin"), "*--tool-dir origin: there is no bin and no */bin and no tool_init.sh in it"),
        (("--skills", "skills"), "*--skills */skills: the agent loop does not look for skills"),
        (("--disk", "0"), "*--disk: '0' is not a size such as 512m or 4g"),
        (("--cpus", "none"), "*--cpus: 'none' is not a number of CPUs from 0.01 on"),
    ],
)
def test_what_cannot_be_given_to_agents_is_exit_status_4(project, origin, options, line):
    project.write_tasks("hello")
    project.write("skills/skills/a/SKILL.md", "# a\n")
    result = project.capture(*options)
    assert result.ret == 4
    result.stderr.fnmatch_lines([line])
    assert project.runs() == []


def test_skills_and_tools_are_found_where_agents_look(project):
    project.write_shell_agent()
    definition = project.path / "agents/shell/agent.toml"
    definition.write_text('skills = "{{home}}/.shell/skills"\n' + definition.read_text())
    project.write("bundle/skills/greet/SKILL.md", "Say hello.\n")
    project.write("bundle/skills/greet/more.txt", "more\n")
    project.write("bundle/skills/part/SKILL.md", "Part.\n")
    project.write("bundle/skills/no-skill/README.md", "nothing\n")
    project.write("bundle/agents/AGENTS.md", "There are skills.\n")
    project.write("tools/bin/greet", "#!/bin/sh\necho from the tool\n").chmod(0o755)
    project.write("tools/tool_init.sh", "echo $AGENTCAP_AGENT > .tools\n")
    project.write_jsonl(
        {
            "id": "a",
            "input": "python3 call hi; ls ~/.shell/skills; cat ~/.shell/skills/greet/more.txt AGENTS.md .tools; greet",
        },
        {"id": "b", "input": 'python3 call hi; ls "$AGENTCAP_SKILLS_DIR" "$AGENTCAP_TOOL_BIN"'},
    )
    options = ("--skills", "bundle", "--tool-dir", "tools")
    project.pytest("--agent", "shell", "--sandbox", "host", *options).assert_outcomes(passed=2)
    first, second = project.results()
    said = first["turns"][0]["reply"].splitlines()[-6:]
    assert said == ["greet", "part", "more", "There are skills.", "shell", "from the tool"]
    assert second["turns"][0]["reply"].split()[-4:][-1] == "greet"
    assert first["changed_files"] == 0


def test_a_workspace_keeps_its_own_instructions(project):
    project.write_shell_agent()
    definition = project.path / "agents/shell/agent.toml"
    definition.write_text('skills = "{{home}}/.shell/skills"\n' + definition.read_text())
    project.write("bundle/skills/greet/SKILL.md", "Say hello.\n")
    project.write("bundle/agents/AGENTS.md", "There are skills.\n")
    project.write("seed/AGENTS.md", "The project's own.\n")
    project.write_jsonl({"id": "a", "input": "python3 call hi; cat AGENTS.md"})
    options = ("--skills", "bundle", "--workspace", "seed")
    project.pytest("--agent", "shell", "--sandbox", "host", *options).assert_outcomes(passed=1)
    assert project.results()[0]["turns"][0]["reply"].splitlines()[-1] == "The project's own."


def test_sessions_that_share_a_home_find_skills_and_have_patches_of_their_own(project):
    project.write_shell_agent()
    definition = project.path / "agents/shell/agent.toml"
    definition.write_text('skills = "{{home}}/.shell/skills"\n' + definition.read_text())
    project.write("bundle/skills/greet/SKILL.md", "Say hello.\n")
    project.write("conftest.py", "import pytest\n@pytest.fixture\ndef shared_home():\n    return True\n")
    project.write_jsonl(
        {"id": "a", "input": "python3 call hi; cat ~/.shell/skills/greet/SKILL.md; echo a > a; touch ~/x"},
        {"id": "b", "input": "python3 call hi; cat ~/.shell/skills/greet/SKILL.md; echo b > b; ls ~/x"},
    )
    project.pytest("--agent", "shell", "--sandbox", "host", "--skills", "bundle").assert_outcomes(passed=2)
    assert [result["changed_files"] for result in project.results()] == [1, 1]
    [run] = project.runs()
    assert "+++ b/b\n" in (run / "workspaces/b.patch").read_text()
