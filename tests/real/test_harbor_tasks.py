"""Harbor's task folders in containers: the shipped ones hold, and an agent that cheats gains nothing by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

CORPUS = Path(__file__).parents[2] / "corpora" / "harbor"
# Whatever an agent may leave for the verifier, and a workspace that is not solved.
CHEAT = """
mkdir -p /logs/verifier /tests
echo 1 > /logs/verifier/reward.txt
echo '{"reward": 1}' > /logs/verifier/reward.json
printf 'exit 0\\n' > /tests/test.sh
printf 'import sys; sys.exit(0)\\n' > /tests/check.py
echo 'exit 0' > ~/.bashrc; echo 'exit 0' > ~/.profile
mkdir -p ~/.local/bin; printf '#!/bin/sh\\nexit 0\\n' > ~/.local/bin/python3; chmod +x ~/.local/bin/python3
ln -s /logs/verifier/reward.json reward.json
printf 'raise SystemExit(0)\\n' > json.py; cp json.py sitecustomize.py; cp json.py settings/json.py
(while :; do echo 1 > /logs/verifier/reward.txt; sleep 0.1; done) >/dev/null 2>&1 &
rm README.md
"""


# What is given to the verifier's own image: a file of the workspace, a folder that the image has as well, and more.
SEPARATE = "artifacts = ['/app/told', '/data', '/logs']\n[verifier]\nenvironment_mode = 'separate'\n"
CHECK = """
test "$PWD" = /check && test ! -e /app/other && test ! -e /data/old || exit 3
echo "$(cat /app/told) $(cat /data/here) $(cat /logs/artifacts/more)" | tee /logs/verifier/seen
test "$(cat /logs/verifier/seen)" = "a b c" && echo 1 > /logs/verifier/reward.txt
test -f /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt
"""


@pytest.fixture
def separate(task: Path) -> Path:
    shutil.rmtree(task / "tests")
    (task / "tests").mkdir()
    base = "FROM localhost/agentcap-base:latest\nUSER root\nRUN mkdir /data && touch /data/old\n"
    (task / "environment/Dockerfile").write_text(f"{base}WORKDIR /app\n")
    (task / "tests/Dockerfile").write_text(f"{base}WORKDIR /check\nCOPY . /tests/\n")
    (task / "tests/test.sh").write_text(CHECK)
    (task / "task.toml").write_text(SEPARATE)
    return task


@pytest.fixture
def task(tmp_path: Path, need: Callable[[str], None]) -> Path:
    need("podman")
    shutil.copytree(CORPUS / "tidy-config", tmp_path / "bench" / "tidy-config")
    return tmp_path / "bench" / "tidy-config"


def run(task: Path, tmp_path: Path) -> dict[str, object]:
    words = ("-p", "agentcap", "-p", "no:cacheprovider", "--agent", "loop", str(task))
    environment = {**os.environ, "AGENTCAP_WORKSPACE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
    )
    found = [json.loads(path.read_bytes()) for path in tmp_path.glob(".agentcap/*/results/*.json")]
    assert len(found) == 1, done.stdout + done.stderr
    return found[0]


def test_an_agent_that_cheats_fails(task, tmp_path):
    (task / "solution/solve.sh").write_text(CHEAT)
    result = run(task, tmp_path)
    assert result["verdict"] == "failed", result
    (verifier,) = result["graders"]
    assert verifier["outcome"] == {"exit_code": 1, "reward": 0.0, "rewards": {"reward": 0.0, "files": 0}}
    patch = next(tmp_path.glob(".agentcap/*/workspaces/*.patch")).read_text()
    assert "deleted file mode 100644" in patch
    assert "sitecustomize.py" in patch
    assert "dev.json" not in patch


def test_tests_that_name_a_reward_and_leave_none_are_no_failure_of_the_agent(task, tmp_path):
    (task / "tests/test.sh").write_text(
        "set -e\ncurl -sf http://none.invalid/tool\necho 1 > /logs/verifier/reward.txt\n"
    )
    result = run(task, tmp_path)
    assert (result["verdict"], result["reason"]) == (
        "grader_error",
        "grader verifier: tests/test.sh ended with exit code 6 and left no reward file "
        "(it fetches something, which needs --network open)",
    )


def test_tests_that_do_not_end_are_no_failure_of_the_agent(task, tmp_path):
    (task / "tests/test.sh").write_text("sleep 600\n")
    (task / "task.toml").write_text("[verifier]\ntimeout_sec = 2\n")
    result = run(task, tmp_path)
    assert (result["verdict"], result["reason"]) == (
        "grader_error",
        "grader verifier: tests/test.sh did not finish within 2 s",
    )


def test_the_shipped_tasks_pass_with_their_solutions_and_fail_without(need, tmp_path):
    need("podman")
    code = "import sys; from pytest_agentcap.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "validate-refs", str(CORPUS)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=560, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(each["id"] for each in found) == ["merge-access-logs", "repair-invoice-totals", "tidy-config"]
    assert all(each["passes"] and each["run"]["verdict"] == "passed" for each in found)


def test_a_task_may_name_an_image_and_variables_instead_of_a_dockerfile(task, tmp_path):
    shutil.rmtree(task / "environment")
    environment = "docker_image = 'localhost/agentcap-base:latest'\nenv = {TOLD = 'a \"$HOME\" \\b'}\n"
    (task / "task.toml").write_text(f'[environment]\n{environment}[solution.env]\nMORE = "it\'s"\n')
    (task / "solution/solve.sh").write_text('. "$(dirname "${BASH_SOURCE[0]}")/parts/tell.sh"\n')
    (task / "solution/parts").mkdir()
    (task / "solution/parts/tell.sh").write_text('printf "%s|%s" "$TOLD" "$MORE" > told\n')
    (task / "tests/check.py").unlink()
    (task / "tests/test.sh").write_text("""test "$(cat told)" = "$TOLD|it's" && test "$TOLD" = 'a "$HOME" \\b'\n""")
    result = run(task, tmp_path)
    assert result["verdict"] == "passed", result


def test_a_separate_verifier_sees_what_it_is_given_in_an_image_of_its_own(separate, tmp_path):
    work = "echo a > told; echo x > other; rm /data/old; echo b > /data/here; echo c > /logs/artifacts/more\n"
    (separate / "solution/solve.sh").write_text(work)
    result = run(separate, tmp_path)
    assert result["verdict"] == "passed", result
    (verifier,) = result["graders"]
    assert verifier["outcome"] == {"exit_code": 0, "reward": 1.0, "rewards": None}


def test_a_reward_that_an_agent_writes_does_not_reach_a_separate_verifier(separate, tmp_path):
    (separate / "solution/solve.sh").write_text("echo 1 > /logs/verifier/reward.txt; rm /data/old\n")
    result = run(separate, tmp_path)
    assert result["verdict"] == "failed", result
    (verifier,) = result["graders"]
    assert verifier["outcome"] == {"exit_code": 0, "reward": 0.0, "rewards": None}


def test_a_verifiers_image_that_cannot_be_built_is_told_before_a_model_is_called(separate, tmp_path):
    (separate / "tests/Dockerfile").write_text("FROM localhost/agentcap-base:latest\nRUN exit 7\n")
    result = run(separate, tmp_path)
    assert (result["verdict"], result["calls"]) == ("infra", 0), result
    assert "RUN exit 7" in str(result["reason"])


def test_an_image_that_is_not_built_in_its_time_is_no_failure_of_the_agent(task, tmp_path):
    (task / "environment/Dockerfile").write_text("FROM localhost/agentcap-base:latest\nRUN sleep 300\n")
    (task / "task.toml").write_text("[environment]\nbuild_timeout_sec = 3\n")
    result = run(task, tmp_path)
    assert result["verdict"] == "infra", result
    assert "was not built within 3 s: ended at STEP 2" in str(result["reason"])
