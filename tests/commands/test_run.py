from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_agentcap.cli import main


def run(project, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from pytest_agentcap.cli import main; sys.exit(main())", "run", *words],
        cwd=project.path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_agentcaps_options_run_pytest_and_say_how(project):
    project.write_tasks("Say hello", name="my tasks.txt")
    project.write("seed/a.txt", "a")
    options = ("--turns", "2", "--followup", "templates", "--timeout", "60", "--label=-blue", "--sandbox", "seed")
    done = run(project, "--agent", "loop", "--tasks", "my tasks.txt", *options, "--", "--sandbox=host", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == (
        "pytest 'my tasks.txt' -p agentcap --agent=loop --turns=2 --followup=templates --turn-timeout=60 "
        "--workspace=seed --label=-blue --sandbox=host -q"
    )
    assert "works in a copy of seed" in done.stderr
    [manifest] = project.manifests()
    assert (manifest["label"], manifest["turns_per_task"], manifest["followup"]) == ("-blue", 2, "templates")


def test_the_key_is_handed_on_and_shown_nowhere(project, http_upstream):
    project.write_shell_agent()
    # What the process table says of pytest while it runs.
    project.write_tasks("python3 call hi >/dev/null; ps -o args= -p $(cat pid); true")
    project.write("conftest.py", "import os, pathlib; pathlib.Path('seed/pid').write_text(str(os.getpid()))")
    project.write("seed/x", "")
    with http_upstream(lambda _: (200, b"{}")) as upstream:
        model = ("--model", "m", "--upstream", upstream.url, "--api-key", "sk-very-secret-1", "--sandbox", "seed")
        done = run(project, "--agent", "shell", "--tasks", "tasks.txt", *model, "--", "--sandbox", "host")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "key comes from AGENTCAP_API_KEY" in done.stdout
    assert "sk-very-secret" not in done.stdout + done.stderr
    assert {headers["authorization"] for _, headers in upstream.seen} == {"Bearer sk-very-secret-1"}
    [result] = project.results()
    assert "-m pytest tasks.txt -p agentcap" in result["turns"][0]["reply"]
    assert "redacted" not in result["turns"][0]["reply"]


def test_skills_and_tools_keep_their_names():
    from pytest_agentcap.cli import _parser
    from pytest_agentcap.commands.run import pytest_arguments

    words = ["run", "--agent", "pi", "--agent", "hermes", "--tasks", "t.txt", "--skills", "S", "--tool-dir", "T"]
    assert list(pytest_arguments(_parser().parse_args(words))) == [
        *("t.txt", "-p", "agentcap", "--agent=pi", "--agent=hermes", "--skills=S", "--tool-dir=T")
    ]


def test_a_file_that_pytest_would_not_read_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "tasks").write_text("Say hello\n")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--agent", "loop", "--tasks", "tasks"]) == 2
    assert "--tasks tasks: name it .txt" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--agent", "loop"], ["--tasks", "tasks.txt"]])
def test_agent_and_tasks_are_needed(words, capsys):
    assert main(["run", *words]) == 2
    assert "run: name --agent and --tasks" in capsys.readouterr().err
