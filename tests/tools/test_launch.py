"""The launchers: what each engine is given, and Slurm's run by submitit's local executor."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

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


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The jobs that a Hub was asked for, by path, over the client's own `run_job`."""
    import huggingface_hub

    asked: list[tuple[str, dict[str, Any]]] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"name": "me", "type": "user"})

        def do_POST(self) -> None:
            assert self.headers["authorization"] == "Bearer hf_token"
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            owner = {"id": "1", "name": self.path.rpartition("/")[2], "type": "user"}
            self._answer({"id": f"job{len(asked)}", "owner": owner, "status": {"stage": "RUNNING"}})

        def _answer(self, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    client = huggingface_hub.HfApi(f"http://127.0.0.1:{server.server_port}", token="hf_token")
    monkeypatch.setattr(huggingface_hub, "run_job", client.run_job)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_jobs_are_asked_of_the_hub_with_their_shard_volume_and_secret(jobs, monkeypatch, capsys):
    words = ["hf-jobs", "--shards", "4", "--only", "3,4", "--image", "i", "--bucket", "me/runs", "--namespace", "org"]
    monkeypatch.setattr(sys, "argv", [*words, "--attempts", "2", "--", *PYTEST])
    assert load("hf-jobs").main() == 0
    assert [path for path, _ in jobs] == ["/api/jobs/org"] * 2
    _, job = jobs[0]
    assert job["command"] == ["pytest", *PYTEST, "--sandbox", "host", "--shard", "auto"]
    assert job["environment"] == {"AGENTCAP_SHARD": "3/4", "AGENTCAP_WORKSPACE": "/agentcap"}
    assert (job["dockerImage"], job["flavor"], job["secrets"]) == ("i", "cpu-basic", {"HF_TOKEN": "hf_token"})
    assert job["timeoutSeconds"] == 6 * 3600
    assert job["labels"]["shard"] == "3of4"
    [volume] = job["volumes"]
    assert (volume["type"], volume["source"], volume["mountPath"]) == ("bucket", "me/runs", "/agentcap")
    assert "hf_token" not in json.dumps({**job, "secrets": None})
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in told] == ["shard 3/4", "shard 4/4"]
    assert told[1].endswith("/jobs/org/job2")


def test_a_job_that_pushes_for_itself_needs_no_volume(jobs, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hf-jobs", "--shards", "1", "--image", "i", "--", *PYTEST, "--push", "me/x"])
    assert load("hf-jobs").main() == 0
    [(path, job)] = jobs
    assert path == "/api/jobs/me"
    assert not job.get("volumes")


def test_jobs_that_would_lose_what_they_captured_are_not_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hf-jobs", "--shards", "4", "--image", "i", "--", *PYTEST])
    with pytest.raises(SystemExit, match="a job's disk goes with it"):
        load("hf-jobs").main()


def test_the_kubernetes_job_numbers_its_shards_and_names_options_that_exist():
    import kubernetes_validate

    job = yaml.safe_load((LAUNCH / "kubernetes.yaml").read_text())
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
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
