"""Whole runs of an agent against what an earlier run recorded."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.upstream.scripted import ScriptedModel

TASKS = [
    {"id": "one", "input": "make one", "reference": "echo 1 > one; ls -l"},
    {"id": "two", "input": ["make two", "and now three"], "reference": ["pwd; touch two", "touch three; ls"]},
]
LOOP = ("-p", "agentcap", "--agent", "loop", "--sandbox", "host")


def calls(run):
    """Return each call's rid and response by task and number."""
    told = {}
    for path in run.glob("captures/*.request.json"):
        head = json.loads(path.read_bytes())
        answer = json.loads((path.parent / path.name.replace("request", "response")).read_bytes())
        told[head["task_id"], head["call_index"]] = (head["request_id"], answer)
    return told


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A run of the loop agent over two tasks, recorded with the scripted model."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "prompts.jsonl").write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    words = [sys.executable, "-m", "pytest", *LOOP, "prompts.jsonl"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    (run,) = folder.glob(".agentcap/*/")
    return run


def test_a_run_is_replayed_byte_for_byte_and_piece_for_piece_by_workers_that_agree(project, recording):
    project.write_jsonl(*TASKS)
    done = project.capture("--upstream", f"replay:{recording}", "-n", "2")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines([f"*a replay of {recording} (strict)*"])
    (replay,) = project.runs()
    old, new = calls(recording), calls(replay)
    assert old.keys() == new.keys()
    for place, (rid, answer) in new.items():
        assert answer["replayed_from"] == old[place][0] != rid
        for field in ("raw", "status_code", "chunk_bytes", "response_headers"):
            assert answer[field] == old[place][1][field], (place, field)
        assert len(answer["chunk_bytes"]) == len(answer["chunk_ms"]) > 0
    (manifest,) = project.manifests()
    assert (manifest["provider"], manifest["replay"], manifest["model"]) == ("replay", "strict", "scripted")
    assert [result["notes"] for result in project.results()] == [
        ["replay: 2 calls answered from the recording"],
        ["replay: 4 calls answered from the recording"],
    ]


def test_a_miss_fails_the_test_as_infra_and_shows_the_difference_unless_the_corpus_says_it_is_none(project, recording):
    for corpus in ("strict", "lenient"):
        project.write_jsonl({**TASKS[0], "input": "make uno"}, name=f"{corpus}/prompts.jsonl")
    project.write(
        "lenient/conftest.py",
        """
        import pytest

        @pytest.fixture
        def replay_rules(replay_rules):
            return replay_rules.ignoring("one|uno")
        """,
    )
    done = project.capture("--upstream", f"replay:{recording}/captures.parquet", "--junitxml=report.xml")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "infra: *replay: call 1 (turn 1, chat) is not in the recording: the nearest recorded request is call 1, *",
            '*-*"content": "make one"*',
            '*+*"content": "make uno"*',
            "FAILED strict/prompts.jsonl*",
        ]
    )
    assert 'name="verdict" value="infra"' in (project.path / "report.xml").read_text()


def test_what_was_not_recorded_falls_through_to_the_model_and_reads_like_any_capture(project, recording, capsys):
    project.write_jsonl({**TASKS[0], "input": "make one, and say so"}, TASKS[1])
    with ScriptedModel.start() as model:
        live = ("--replay", "fallthrough", f"--replay-upstream={model.url}")
        project.capture(f"--upstream=replay:{recording}", *live).assert_outcomes(passed=2)
    (run,) = project.runs()
    rows = pq.read_table(run / "captures.parquet").to_pylist()
    told = {(row["task_id"], row["call_index"]): row["replayed_from"] for row in rows}
    assert {task: told[task, 1] is None for task in ("one", "two")} == {"one": True, "two": False}
    assert all(row["complete"] and row["status_code"] == 200 and row["prompt_tokens"] for row in rows)
    notes = {result["task_id"]: result["notes"] for result in project.results()}
    assert "by the model" in notes["one"][0]
    assert notes["two"] == ["replay: 4 calls answered from the recording"]
    capsys.readouterr()
    assert main(["show", str(run)]) == 0
    assert capsys.readouterr().out.count("chat") == len(rows)


def test_from_the_fork_on_the_model_answers_and_its_calls_are_recorded(project, recording):
    project.write_jsonl(TASKS[1])
    with ScriptedModel.start() as model:
        live = ("--fork-at=2", f"--replay-upstream={model.url}")
        project.capture(f"--upstream=replay:{recording}", *live).assert_outcomes(passed=1)
    (fork,) = project.runs()
    assert [answer.get("replayed_from") for _, (_, answer) in sorted(calls(fork).items())] == [
        *(calls(recording)["two", number][0] for number in (1, 2)),
        None,
    ]
    (manifest,) = project.manifests()
    assert (manifest["fork_at"], manifest["replay"], manifest["replay_upstream"]) == (2, "prefix", model.url)
