"""The workflows that are shipped and shown: linted, described, and their steps run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
WORKFLOW = ROOT / ".github" / "workflows" / "capture.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text())["jobs"]


def described(heading: str, kind: str) -> set[str]:
    """Return what the page's table with this head says of a kind of setting."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return set(re.findall(rf"^\| {kind}`(\w+)` \|", table, re.MULTILINE))


def script(job: str, name: str) -> str:
    (found,) = [step["run"] for step in JOBS[job]["steps"] if step.get("name") == name]
    return str(found)


@pytest.fixture
def workflows(tmp_path):
    """Return the paths of all workflows, those that the page shows included."""
    shown = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    for number, text in enumerate(shown):
        (folder / f"shown-{number}.yml").write_text(text)
    return [str(path) for path in (WORKFLOW, ROOT / "tools/launch/github-workflow.yml", *folder.iterdir())]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put this project's own programs, and others that only say what they were given, in front of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    agentcap = "import sys; from pytest_agentcap.cli import main; sys.exit(main())"
    bodies = {
        "pytest": f'exec "{sys.executable}" -m pytest "$@"',
        "agentcap": f'exec "{sys.executable}" -c \'{agentcap}\' "$@"',
        "gh": f'echo "$@" >>"{tmp_path}/gh"',
    }
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def run(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as Actions does."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def test_workflows_fit_githubs_schema(workflows):
    words = ["check_jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_workflows_are_safe(workflows):
    program = Path(sys.executable).with_name("zizmor")
    words = ["--offline", "--no-progress", "--config", str(ROOT / ".github" / "zizmor.yml"), *workflows]
    done = subprocess.run([str(program), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_inputs_secrets_and_variables_are_described():
    text = WORKFLOW.read_text()
    (triggers,) = [value for key, value in yaml.safe_load(text).items() if key in ("on", True)]
    assert described("input", "") == set(triggers["workflow_dispatch"]["inputs"])
    assert described("where | name", r"secret \| ") == set(re.findall(r"secrets\.(\w+)", text))
    assert described("where | name", r"variable \| ") == set(re.findall(r"vars\.(\w+)", text))


def test_only_steps_that_need_a_secret_have_it():
    with_secrets = [step["name"] for step in JOBS["capture"]["steps"] if "${{ secrets" in str(step)]
    assert with_secrets == ["Capture", "Publish"]
    assert "${{ secrets" not in str(JOBS["write-back"])


def test_the_steps_capture_report_and_write_results_back(project, programs, tmp_path):
    (project.path / "corpora").symlink_to(ROOT / "corpora")
    known = {"AGENT": "loop", "SANDBOX": "host", "CORPUS": "corpora/quickstart", "LIMIT": "2", "MODEL": ""}
    known |= {"DATASET": "me/captures", "HF_TOKEN": "", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    for name in ("Capture", "Report", "Publish"):
        # Workers take longer to start here than two tasks do.
        done = run(script("capture", name).replace(" -n 4", ""), project.path, **known)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "not published" in done.stdout
    assert 'tests="2"' in (project.path / "junit.xml").read_text()
    assert (tmp_path / "summary").read_text() == (project.path / "report/REPORT.md").read_text()

    clone = tmp_path / "clone"
    for words in (
        ("init", "-q", "--bare", str(tmp_path / "origin")),
        ("clone", "-q", str(tmp_path / "origin"), "clone"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    found = {"FOUND": str(project.path), "BASE": "main", "BRANCH": "agentcap-results/1-1"}
    for name in ("Write results", "Open a pull request"):
        done = run(script("write-back", name), clone, **known, **found)
        assert done.returncode == 0, done.stdout + done.stderr
    listed = ["git", "ls-tree", "-r", "--name-only", "agentcap-results/1-1"]
    pushed = subprocess.run(listed, cwd=tmp_path / "origin", capture_output=True, text=True).stdout.splitlines()
    assert [Path(path).name for path in pushed] == ["REPORT.md", "run_aggregate.json"]
    assert {Path(path).parent.name for path in pushed} == {"loop-scripted"}
    assert "pr create --base main --head agentcap-results/1-1 --fill" in (tmp_path / "gh").read_text()


@pytest.mark.parametrize(("pytests", "steps"), [(0, 0), (1, 0), (2, 2), (4, 4)])
def test_a_failed_session_is_a_result_and_a_run_that_could_not_begin_is_not(pytests, steps, tmp_path):
    (tmp_path / "pytest").write_text(f"#!/bin/sh\nexit {pytests}\n")
    (tmp_path / "pytest").chmod(0o755)
    text = f'PATH="{tmp_path}:$PATH"\n{script("capture", "Capture")}'
    known = {"AGENT": "loop", "SANDBOX": "host", "CORPUS": "shop", "LIMIT": "", "MODEL": ""}
    assert run(text, tmp_path, **known).returncode == steps
