"""The launchers: what each engine is given, and Slurm's run by submitit's local executor."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from pytest_agentcap.cli import main
from pytest_agentcap.options import OPTIONS
from pytest_agentcap.sharding import shard_text

LAUNCH = Path(__file__).parents[2] / "tools" / "launch"
PYTEST = ["corpora/x", "-p", "agentcap", "--agent", "pi", "--model", "M"]


def load(name: str) -> ModuleType:
    loader = SourceFileLoader(name.replace("-", "_"), str(LAUNCH / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_job_of_hugging_face_is_given_its_shard_and_keeps_its_runs(monkeypatch, capsys):
    module = load("hf-jobs")
    words = ["--shards", "2", "--image", "img", "--bucket", "me/runs", "--attempts", "2", "--dry-run", "--", *PYTEST]
    monkeypatch.setattr(sys, "argv", ["hf-jobs", *words])
    assert module.main() == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["command"] == ["pytest", *PYTEST, "--sandbox", "host", "--shard", "auto"]
    assert [shard_text("auto", each["env"]) for each in (first, second)] == ["1/2", "2/2"]
    assert first["env"]["AGENTCAP_WORKSPACE"] == "/agentcap"
    assert "hf_" not in json.dumps([first, second])


def test_what_a_job_is_given_is_what_the_client_takes(monkeypatch, capsys):
    import huggingface_hub

    given: list[dict] = []

    class Job:
        url = "https://huggingface.co/jobs/me/1"

    def run_job(**call: object) -> Job:
        given.append(inspect.signature(real).bind(**call).arguments)
        return Job()

    real = huggingface_hub.run_job
    monkeypatch.setattr(huggingface_hub, "run_job", run_job)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    monkeypatch.setattr(
        sys, "argv", ["hf-jobs", "--shards", "4", "--only", "3", "--image", "i", "--", *PYTEST, "--push", "me/x"]
    )
    assert load("hf-jobs").main() == 0
    [call] = given
    assert call["secrets"] == {"HF_TOKEN": "hf_token"}
    assert call["labels"]["shard"] == "3of4"
    assert call["volumes"] is None
    assert capsys.readouterr().out == "shard 3/4: https://huggingface.co/jobs/me/1\n"


def test_jobs_that_would_lose_what_they_captured_are_not_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hf-jobs", "--shards", "4", "--image", "i", "--", *PYTEST])
    with pytest.raises(SystemExit, match="a job's disk goes with it"):
        load("hf-jobs").main()


def test_the_kubernetes_job_numbers_its_shards_and_names_options_that_exist():
    job = yaml.safe_load((LAUNCH / "kubernetes.yaml").read_text())
    spec, [container] = job["spec"], job["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert int(environment["AGENTCAP_SHARDS"]) == spec["completions"]
    last = {**environment, "JOB_COMPLETION_INDEX": str(spec["completions"] - 1)}
    assert shard_text(container["args"][container["args"].index("--shard") + 1], last) == "16/16"
    assert {word for word in container["args"] if word.startswith("--")} <= {f"--{each.name}" for each in OPTIONS}
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]


def test_the_github_workflow_gives_each_entry_of_its_matrix_a_shard():
    jobs = yaml.safe_load((LAUNCH / "github-workflow.yml").read_text())["jobs"]
    shards = jobs["shard"]["strategy"]["matrix"]["shard"]
    assert shards == list(range(1, len(shards) + 1))
    assert jobs["shard"]["env"]["AGENTCAP_SHARD"] == "${{ matrix.shard }}/${{ strategy.job-total }}"
    assert any("--shard auto" in step.get("run", "") for step in jobs["shard"]["steps"])
    assert jobs["complete"]["needs"] == "shard"
    assert "agentcap merge --all" in jobs["complete"]["steps"][-1]["run"]


@pytest.mark.real
@pytest.mark.xdist_group("real")
def test_an_array_of_submitit_runs_every_shard(project, monkeypatch, capsys):
    project.write_tasks(*(f"Say {n}" for n in range(6)))
    words = ["--shards", "2", "--cluster", "local", "--minutes", "5", "--", ".", "-p", "agentcap", "-q"]
    done = subprocess.run(
        [sys.executable, str(LAUNCH / "slurm"), *words, "--agent", "loop", "--sandbox", "host"],
        cwd=project.path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if "done" in line] == ["shard 1/2: done", "shard 2/2: done"]
    monkeypatch.chdir(project.path)
    assert main(["merge", "--all", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)
    assert len(told["done"]) == 6
