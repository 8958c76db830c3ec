from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pytest_agentcap.analysis.strategies import CaptureWeights, TrialWeights
from pytest_agentcap.cli import main
from pytest_agentcap.envfile import EnvFileError, load_env_file

ROOT = Path(__file__).parents[1]
PREFIXES = "AGENTCAP|OPENAI|HF|HUGGING_FACE|ANTHROPIC|GEMINI|GOOGLE|COMPARE|CONTAINER|SSL|NODE|XDG"
# What sessions are told, not what they are asked for; and words that look like variables.
TOLD = {
    *("AGENTCAP_PROXY_URL", "AGENTCAP_MODEL", "AGENTCAP_SKILLS_DIR", "AGENTCAP_TOOL_BIN", "AGENTCAP_OWNER"),
    *("AGENTCAP_AGENT", "AGENTCAP_TOOL_DIR"),
    *("AGENTCAP_SESSION", "AGENTCAP_BUILD", "AGENTCAP_TELL_FD", "AGENTCAP_END_OF_SOLUTION", "OPENAI_API_BASE"),
    *("OPENAI_MODEL", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "GEMINI_MODEL", "GOOGLE_GEMINI_BASE_URL"),
    *("AGENTCAP_COLUMNS", "AGENTCAP_TESTED_LOG"),
}


@pytest.fixture
def env(tmp_path, monkeypatch):
    """Write a `.env`, and leave this process's environment as it was."""
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def write(text: str) -> Path:
        (tmp_path / ".env").write_text(text)
        return tmp_path

    return write


def test_what_the_environment_has_stays_even_when_it_is_empty(env):
    os.environ |= {"ENV_TEST_A": "from outside", "ENV_TEST_B": ""}
    file = load_env_file(env("ENV_TEST_A=1\nENV_TEST_B=2\nexport ENV_TEST_C='a $b'  # said why\nENV_TEST_D=\n"))
    assert [os.environ.get(f"ENV_TEST_{name}") for name in "ABCD"] == ["from outside", "", "a $b", None]
    assert file.names == ("ENV_TEST_C",)


def test_a_file_that_is_forgotten_leaves_no_trace(env):
    before = dict(os.environ)
    load_env_file(env("ENV_TEST_A=1\n")).forget()
    assert dict(os.environ) == before


def test_the_first_folder_that_has_a_file_counts(env, tmp_path):
    (tmp_path / "below").mkdir()
    assert load_env_file(tmp_path / "below") is None
    assert load_env_file(tmp_path / "below", env("ENV_TEST_A=1\n")).path == tmp_path / ".env"


def test_names_are_told_and_values_never(env):
    file = load_env_file(env("ENV_TEST_KEY=sk-very-secret\n"))
    assert "ENV_TEST_KEY" in file.told
    assert "secret" not in file.told + repr(file)


@pytest.mark.parametrize("line", ["sk-secret and more", "'sk-secret", "sk-secret=1"])
def test_a_line_that_cannot_be_read_is_named_and_not_shown(env, line):
    with pytest.raises(EnvFileError, match=r"\.env:2: write one NAME=value a line") as caught:
        load_env_file(env(f"ENV_TEST_A=1\n{line}\n"))
    assert "sk-secret" not in str(caught.value)
    assert "ENV_TEST_A" not in os.environ


def test_pytest_and_its_workers_read_the_file_and_mask_its_keys(project, http_upstream):
    with http_upstream(lambda path: (200, b'{"error": "sk-from-the-file"}')) as upstream:
        project.write(".env", f"AGENTCAP_UPSTREAM={upstream.url}\nAGENTCAP_API_KEY=sk-from-the-file\n")
        project.write_tasks("Say something")
        done = project.capture("--model", "m", "-n", "1")
    done.stdout.fnmatch_lines(["agentcap: *.env: AGENTCAP_UPSTREAM, AGENTCAP_API_KEY"])
    assert "Bearer sk-from-the-file" in [headers.get("authorization") for _, headers in upstream.seen]
    kept = [path.read_text() for path in project.path.glob(".agentcap/*/captures/*.json")]
    assert any("agentcap-redacted-" in text for text in kept)
    assert not any("sk-from-the-file" in text for text in (*kept, done.stdout.str(), done.stderr.str()))


def test_without_an_agent_the_file_is_not_read(project):
    project.write(".env", "no assignment\n")
    project.write("test_own.py", "def test_own():\n    pass\n")
    project.pytest().assert_outcomes(passed=1)


def test_a_file_that_cannot_be_read_is_a_usage_error(project):
    project.write(".env", "no assignment\n")
    project.write_tasks("Say something")
    done = project.capture()
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: *.env:1: write one NAME=value a line"])


def test_commands_read_the_file(env, monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)
    monkeypatch.chdir(env("AGENTCAP_WORKSPACE=elsewhere\n"))
    (tmp_path / "elsewhere" / ".agentcap").mkdir(parents=True)
    assert main(["ls"]) == 0
    assert "elsewhere" not in os.environ.get("AGENTCAP_WORKSPACE", "")
    env("no assignment\n")
    assert main(["ls"]) == 2
    assert ".env:1: write one NAME=value a line" in capsys.readouterr().err


def names_in(folder: str, prefixes: str) -> set[str]:
    """Return the variables that a folder's modules name; not those that this one makes up."""
    texts = [path.read_text("utf-8") for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)]
    return {name for text in texts for name in re.findall(rf'"((?:{prefixes})_[A-Z_]*[A-Z])"', text)}


def test_the_example_lists_every_variable_that_is_read_and_no_other():
    listed = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read = names_in("pytest_agentcap", PREFIXES) | names_in("tests", "AGENTCAP")
    weights = {f"COMPARE_{name.upper()}" for kind in (CaptureWeights, TrialWeights) for name in kind.__slots__}
    judge = {f"AGENTCAP_JUDGE_{part}" for part in ("MODEL", "UPSTREAM")}
    assert read - TOLD - listed == set()
    assert listed - read - weights - judge == set()


def test_the_pages_name_no_variable_that_the_example_lacks():
    listed = (ROOT / ".env.example").read_text()
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    named = {
        name for page in pages for name in re.findall(r"\b(?:AGENTCAP|COMPARE)_[A-Z_]*[A-Z]\b", page.read_text("utf-8"))
    }
    # Variables of the workflow's repository are no environment of ours.
    in_actions = {"AGENTCAP_AGENT", "AGENTCAP_BASE_URL", "AGENTCAP_CORPUS", "AGENTCAP_DATASET"}
    assert {name for name in named if f"{name}=" not in listed} - TOLD - in_actions == set()
