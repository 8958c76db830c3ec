from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.combine import mean_score, run_graders
from pytest_agentcap.grading.find import load_grader
from pytest_agentcap.grading.program import ProgramGrader, python_grader

GRADE = "def grade(*, input, output, hint, metadata, cwd):\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def given(cwd: Path, **changes: Any) -> GraderInput:
    return GraderInput(**{"input": "Say hello.", "output": "hello", "cwd": cwd, "task_id": "greet", **changes})


def python(tmp_path: Path, source: str, *, timeout_s: float = 60) -> ProgramGrader:
    path = tmp_path / "grader.py"
    path.write_text(source, encoding="utf-8")
    return python_grader("greeter", path, timeout_s=timeout_s)


def program(tmp_path: Path, script: str, *, timeout_s: float = 60) -> ProgramGrader:
    path = tmp_path / "grader.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return ProgramGrader("greeter", (str(path),), timeout_s)


def error_of(grader: ProgramGrader, cwd: Path, **changes: Any) -> str:
    with pytest.raises(GraderError) as caught:
        grader.grade(given(cwd, **changes))
    message = str(caught.value)
    assert message.startswith("grader greeter: ")
    assert "\n" not in message
    return message.removeprefix("grader greeter: ")


def test_a_program_reads_the_session_on_stdin_and_answers_on_stdout(tmp_path: Path, workspace: Path) -> None:
    answer = {"pass": True, "score": 0.75, "reasoning": "good", "outcome": {"words": 1}, "extra": "ignored"}
    grader = program(tmp_path, f"cat > '{tmp_path}/seen.json'\necho '{json.dumps(answer)}'")

    result = grader.grade(given(workspace, hint="hello", metadata={"category": "shell"}))

    assert result == GraderResult("greeter", True, 0.75, "good", {"words": 1}, result.duration_s)
    assert result.duration_s > 0
    assert json.loads((tmp_path / "seen.json").read_text()) == {
        "input": "Say hello.",
        "output": "hello",
        "hint": "hello",
        "metadata": {"category": "shell"},
        "cwd": str(workspace),
    }


def test_what_a_task_does_not_have_is_absent(tmp_path: Path, workspace: Path) -> None:
    grader = program(tmp_path, f"cat > '{tmp_path}/seen.json'\necho '{{\"pass\": false}}'")

    grader.grade(given(workspace, input=("Say hello.", "Louder.")))

    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen == {"input": ["Say hello.", "Louder."], "output": "hello", "cwd": str(workspace)}


@pytest.mark.parametrize(("passed", "score"), [("true", 1.0), ("false", 0.0)])
def test_a_missing_score_follows_pass(tmp_path: Path, workspace: Path, passed: str, score: float) -> None:
    result = program(tmp_path, f"""echo '{{"pass": {passed}, "reasoning": null}}'""").grade(given(workspace))

    assert (result.score, result.reasoning, result.outcome) == (score, None, None)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "gave no answer on stdout"),
        ("passed", "its answer is not one JSON document: passed"),
        ('{"pass": true} {"pass": true}', "its answer is not one JSON document"),
        ("[true]", "its answer is not a JSON object"),
        ("{}", "`pass` must be true or false"),
        ('{"pass": "yes"}', "`pass` must be true or false"),
        ('{"pass": 1}', "`pass` must be true or false"),
        ('{"pass": true, "score": 7}', "`score` must be a number from 0 to 1, not 7"),
        ('{"pass": true, "score": -0.1}', "`score` must be a number from 0 to 1, not -0.1"),
        ('{"pass": true, "score": true}', "`score` must be a number from 0 to 1, not true"),
        ('{"pass": true, "score": "1"}', "`score` must be a number from 0 to 1"),
        ('{"pass": true, "score": NaN}', "its answer holds NaN, which is no JSON number"),
        ('{"pass": true, "score": 1e999}', "its answer holds the number 1e999, which is too large"),
        ('{"pass": true, "reasoning": ["x"]}', "`reasoning` must be a string"),
        ('{"pass": true, "outcome": "x"}', "`outcome` must be an object"),
        ('{"pass": true, "outcome": {"x": Infinity}}', "its answer holds Infinity"),
        ("[" * 100_000, "its answer is not one JSON document"),
    ],
    ids=lambda value: value[:40],
)
def test_an_answer_of_the_wrong_shape_is_a_grader_error(
    tmp_path: Path, workspace: Path, answer: str, problem: str
) -> None:
    (tmp_path / "answer").write_text(answer)

    message = error_of(program(tmp_path, f"cat '{tmp_path}/answer'; echo judged >&2"), workspace)

    assert message.startswith(problem)
    assert message.endswith("; its last line on stderr: judged")


def test_an_answer_that_is_not_utf8_is_a_grader_error(tmp_path: Path, workspace: Path) -> None:
    assert error_of(program(tmp_path, r"printf '\377'"), workspace).startswith("its answer is not UTF-8")


def test_a_program_that_exits_non_zero_is_a_grader_error_with_its_last_line(tmp_path: Path, workspace: Path) -> None:
    grader = program(tmp_path, """echo '{"pass": true}'; echo first >&2; echo 'no rubric' >&2; echo >&2; exit 3""")

    assert error_of(grader, workspace) == "exited with code 3; its last line on stderr: no rubric"


def test_a_program_that_dies_of_a_signal_is_a_grader_error(tmp_path: Path, workspace: Path) -> None:
    message = error_of(program(tmp_path, "kill -KILL $$"), workspace)

    assert message.startswith("was ended by signal 9 (Killed")
    assert message.endswith("; it wrote nothing on stderr")


def test_a_program_that_cannot_be_started_is_a_grader_error(tmp_path: Path, workspace: Path) -> None:
    path = tmp_path / "grader"
    path.write_text("no first line\n")
    path.chmod(0o755)

    assert "cannot be started (Exec format error)" in error_of(ProgramGrader("greeter", (str(path),)), workspace)


def test_a_prompt_that_is_never_read_does_no_harm(tmp_path: Path, workspace: Path) -> None:
    grader = program(tmp_path, """echo '{"pass": true}'""")

    assert grader.grade(given(workspace, input="x" * (1 << 20))).passed


def test_a_child_that_keeps_stdout_open_does_not_delay_the_answer(tmp_path: Path, workspace: Path) -> None:
    grader = program(tmp_path, f"""sleep 3600 & echo $! > '{tmp_path}/pid'; echo '{{"pass": true}}'""")

    assert grader.grade(given(workspace)).passed
    assert_ends(int((tmp_path / "pid").read_text()))


def test_a_hanging_grader_is_ended_with_all_its_processes(tmp_path: Path, workspace: Path) -> None:
    script = f"trap '' TERM\nsleep 3600 &\necho $$ $! > '{tmp_path}/pids'\necho waiting >&2\nwait\nwait\nsleep 3600"
    grader = program(tmp_path, script, timeout_s=2)

    message = error_of(grader, workspace)

    assert message == "did not finish within 2 s; its last line on stderr: waiting"
    for pid in (tmp_path / "pids").read_text().split():
        assert_ends(int(pid))


def test_a_grader_that_floods_its_output_is_ended(tmp_path: Path, workspace: Path) -> None:
    grader = python(tmp_path, GRADE + "    while True:\n        print('x' * 1000)\n")

    assert error_of(grader, workspace).startswith("wrote more than 1048576 bytes; ")


def test_metadata_that_json_cannot_hold_is_a_grader_error(tmp_path: Path, workspace: Path) -> None:
    message = error_of(program(tmp_path, "true"), workspace, metadata={"when": object()})

    assert message.startswith("the metadata of greet is not JSON")


@pytest.mark.parametrize(
    "source",
    [
        GRADE + "    return {'pass': output == input[4:9] == hint and metadata == {'n': 1}, 'reasoning': cwd}",
        "async def grade(input, output, cwd):\n    return {'pass': output == input[4:9], 'reasoning': cwd}",
        "def grade(**given):\n    return {'pass': given['output'] == given['hint'], 'reasoning': given['cwd']}",
    ],
)
def test_a_python_grader_gets_the_arguments_it_names(tmp_path: Path, workspace: Path, source: str) -> None:
    result = python(tmp_path, source).grade(given(workspace, hint="hello", metadata={"n": 1}))

    assert (result.passed, result.score, result.reasoning) == (True, 1.0, str(workspace))


def test_a_python_grader_sees_none_and_an_empty_object_for_what_is_absent(tmp_path: Path, workspace: Path) -> None:
    result = python(tmp_path, GRADE + "    return {'pass': hint is None and metadata == {}}").grade(given(workspace))

    assert result.passed


def test_a_python_grader_may_print(tmp_path: Path, workspace: Path) -> None:
    source = "import os, subprocess\nprint('loading')\n" + GRADE
    source += "    print('{\"pass\": false}')\n    os.write(1, b'raw')\n    subprocess.run(['echo', 'child'])\n"

    assert python(tmp_path, source + "    return {'pass': True}\n").grade(given(workspace)).passed


def test_a_python_grader_that_raises_is_a_grader_error_with_its_message(tmp_path: Path, workspace: Path) -> None:
    grader = python(tmp_path, GRADE + "    raise LookupError('no rubric\\nfor this')\n")

    assert error_of(grader, workspace) == (
        "exited with code 1; its last line on stderr: LookupError: no rubric for this"
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import no_such_module_here\n" + GRADE + "    return {'pass': True}", "ModuleNotFoundError: "),
        ("def grade(rubric):\n    return {'pass': True}", "TypeError: grade() missing 1 required positional argument"),
        (GRADE + "    return {'pass': True, 'outcome': {'path': object()}}", "TypeError: Object of type object"),
        (GRADE + "    import sys\n    sys.exit('gave up')", "gave up"),
        (GRADE + "    import os\n    os._exit(0)", "gave no answer on stdout"),
        (GRADE + "    return {'pass': True, 'score': float('nan')}", "its answer holds NaN"),
        (GRADE + "    return None", "its answer is not a JSON object"),
    ],
)
def test_a_python_grader_without_a_verdict_is_a_grader_error(
    tmp_path: Path, workspace: Path, source: str, problem: str
) -> None:
    assert problem in error_of(python(tmp_path, source), workspace)


def test_modules_planted_in_the_workspace_are_not_imported(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "sitecustomize.py", "usercustomize.py", "inspect.py", "csv.py"):
        (workspace / name).write_text(f"open({str(tmp_path / 'planted')!r}, 'w').close()\nraise SystemExit(9)\n")
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("PYTHONPATH", str(workspace))
    source = "import csv, json\n" + GRADE + "    return {'pass': True, 'reasoning': json.__file__}"

    result = python(tmp_path, source).grade(given(workspace))

    assert result.reasoning is not None
    assert not result.reasoning.startswith(str(tmp_path))
    assert not (tmp_path / "planted").exists()


def test_modules_beside_the_grader_are_found_but_not_before_the_standard_library(
    tmp_path: Path, workspace: Path
) -> None:
    (tmp_path / "rubric.py").write_text("PASSES = True\n")
    (tmp_path / "csv.py").write_text("raise SystemExit('shadowed')\n")

    assert (
        python(tmp_path, "import csv, rubric\n" + GRADE + "    return {'pass': rubric.PASSES}")
        .grade(given(workspace))
        .passed
    )
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_grader_sees_nothing_of_our_environment(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("LC_NUMERIC", "C")
    source = "import os\n" + GRADE + "    return {'pass': True, 'outcome': dict(os.environ)}"

    seen = python(tmp_path, source).grade(given(workspace)).outcome

    assert seen is not None
    assert seen["PATH"] == os.environ["PATH"]
    assert {key for key in seen if not key.startswith("LC_")} <= {"PATH", "LANG", "HOME", "TMPDIR"}
    assert "planted" not in json.dumps(dict(seen))
    assert seen["HOME"] != os.environ.get("HOME")


def test_a_grader_gets_the_variables_that_are_named_for_it(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k1")
    monkeypatch.setenv("OTHER_KEY", "k2")
    monkeypatch.setenv("AGENTCAP_GRADER_ENV", "JUDGE_KEY, LANG")
    monkeypatch.setenv("LANG", "C")
    (tmp_path / "g.py").write_text("import os\n" + GRADE + "    return {'pass': True, 'outcome': dict(os.environ)}")

    seen = load_grader("g.py", base=tmp_path).grade(given(workspace)).outcome

    assert seen is not None
    assert seen["JUDGE_KEY"] == "k1"
    assert seen.keys().isdisjoint({"OTHER_KEY", "AGENTCAP_GRADER_ENV"})


def test_a_variable_that_a_grader_lacks_is_an_error_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTCAP_GRADER_ENV", "NO_SUCH_KEY")
    (tmp_path / "g.py").write_text(GRADE + "    return {'pass': True}")
    with pytest.raises(GraderError, match="AGENTCAP_GRADER_ENV: not set: NO_SUCH_KEY"):
        load_grader("g.py", base=tmp_path)


def test_a_grader_starts_in_an_empty_folder_that_is_gone_afterwards(tmp_path: Path, workspace: Path) -> None:
    source = "import os, tempfile\nfrom pathlib import Path\n" + GRADE
    source += "    empty = not os.listdir() and not os.listdir(Path.home()) and not os.listdir(tempfile.gettempdir())\n"
    source += "    Path('left').touch()\n    return {'pass': empty, 'reasoning': os.getcwd()}"

    result = python(tmp_path, source).grade(given(workspace))

    assert result.passed
    assert result.reasoning is not None
    assert not Path(result.reasoning).exists()
    assert not Path(result.reasoning).is_relative_to(workspace)


def test_a_python_grader_runs_in_this_interpreter(tmp_path: Path, workspace: Path) -> None:
    source = "import sys\n" + GRADE + "    return {'pass': __name__ != '__main__', 'reasoning': sys.executable}"

    result = python(tmp_path, source).grade(given(workspace))

    assert (result.passed, result.reasoning) == (True, sys.executable)


def test_several_graders_answer_in_order(tmp_path: Path, workspace: Path) -> None:
    for name, verdict in (("first", True), ("second", False)):
        (tmp_path / f"{name}.py").write_text(GRADE + f"    return {{'pass': {verdict}}}")
    graders = [load_grader(name, base=tmp_path) for name in ("first.py", "second.py")]

    graded = run_graders(graders, given(workspace))

    assert [(result.name, result.passed) for result in graded.results] == [("first", True), ("second", False)]
    assert graded.error is None
    assert mean_score(graded.results) == 0.5


def test_a_grader_that_breaks_takes_nothing_from_the_others(tmp_path: Path, workspace: Path) -> None:
    (tmp_path / "breaks.py").write_text(GRADE + "    raise LookupError('no rubric')")
    (tmp_path / "works.py").write_text(GRADE + "    return {'pass': True}")
    names = ("breaks.py", "works.py", "contains:hello", "contains:help", "breaks.py")

    graded = run_graders([load_grader(name, base=tmp_path) for name in names], given(workspace))

    told = [(result.name, result.passed) for result in graded.results]
    assert told == [("works", True), ("contains", True), ("contains-2", False)]
    assert graded.error is not None
    assert graded.error.startswith("grader breaks: exited with code 1")


def assert_ends(pid: int) -> None:
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)
