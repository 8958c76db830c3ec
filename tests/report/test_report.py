"""`agentcap report`: REPORT.md, run_aggregate.json and the files of sessions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_agentcap.cli import main

GRADED = [{"name": "contains", "passed": False, "score": 0.25, "reasoning": "no milk"}]
PATCH = """\
diff --git a/eval_artifacts/answer.json b/eval_artifacts/answer.json
new file mode 100644
--- /dev/null
+++ b/eval_artifacts/answer.json
@@ -0,0 +1 @@
+{"count": 3}
diff --git a/eval_artifacts/task_result.json b/eval_artifacts/task_result.json
new file mode 100644
--- /dev/null
+++ b/eval_artifacts/task_result.json
@@ -0,0 +1 @@
+{"metrics": {"score_0_100": 100}}
diff --git a/eval_artifacts/notes/a.md b/eval_artifacts/notes/a.md
new file mode 100644
--- /dev/null
+++ b/eval_artifacts/notes/a.md
@@ -0,0 +1 @@
+# Notes
diff --git a/out/told[1].json b/out/told[1].json
new file mode 100644
--- /dev/null
+++ b/out/told[1].json
@@ -0,0 +1 @@
+{}
diff --git a/eval_artifacts/link b/eval_artifacts/link
new file mode 120000
--- /dev/null
+++ b/eval_artifacts/link
@@ -0,0 +1 @@
+/etc/passwd
\\ No newline at end of file
diff --git a/src/other.txt b/src/other.txt
new file mode 100644
--- /dev/null
+++ b/src/other.txt
@@ -0,0 +1 @@
+not an answer
"""


def rows_below(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    _, _, below = text.partition(f"# {heading}\n")
    lines = [line for line in re.split(r"\n##+ ", below)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def read(path: str | Path) -> dict:
    return json.loads(Path(path).read_bytes())


def test_the_report_sums_up_each_repository_and_all_with_infra_apart(make_run, assessment, capsys):
    make_run(
        "one",
        ("a", "passed", assessment("numpy", 100)),
        ("b", "failed", assessment("numpy", 40, failed="count", events=2)),
        ("c", "infra", {}),
        ("d", "failed", {"graders": tuple(GRADED)}),
    )
    assert main(["report", "one", "-o", "out"]) == 0
    assert capsys.readouterr().out == "out/REPORT.md: 1 runs, 4 sessions\n"
    text = Path("out/REPORT.md").read_text()
    assert rows_below(text, "Summary") == [
        ["numpy", "2", "2", "50.0% (1/2)", "9.5% to 90.5%", "70.0", "4", "8", "240", "–", "2", "0"],
        ["shop", "2", "2", "0.0% (0/1)", "0.0% to 79.3%", "25.0", "4", "–", "240", "–", "–", "1 infra"],
        ["**overall**", "4", "4", "33.3% (1/3)", "6.1% to 79.2%", "55.0", "8", "8", "480", "–", "2", "1 infra"],
    ]
    assert rows_below(text, "numpy") == [
        ["a", "passed", "100.0", "4", "2", "120", "2.5", "0", ""],
        ["b", "failed", "40.0", "4", "2", "120", "2.5", "2", "count"],
    ]
    assert [row[-1] for row in rows_below(text, "shop")] == ["infra", "contains"]
    assert rows_below(text, "Wrong outputs of numpy") == [["b", "count", "3", "4"]]
    assert "Wrong outputs of shop" not in text
    assert "Failed by: 1 contains, 1 count." in text
    assert "Safety events: 2 path_escape." in text


def test_a_run_of_agentcap_itself_is_told_to_have_no_results(make_run, capsys):
    make_run("one")
    assert main(["report", "one", "-o", "out"]) == 0
    assert "one has no results: `agentcap analyze one` reads its calls alone" in capsys.readouterr().err


def test_figures_for_programs_say_the_same(make_run, assessment):
    make_run(
        "one",
        ("a", "passed", assessment("numpy", 100)),
        ("b", "agent_timeout", {"prompt_tokens": None, "cost_usd": 0.5}),
    )
    assert main(["report", "one", "-o", "out"]) == 0
    told = read("out/run_aggregate.json")
    assert told["overall"]["success_rate"] == 1
    assert told["overall"]["apart"] == {"agent_timeout": 1}
    # A figure that one session does not know is not 0, and the sum says so.
    assert told["overall"]["tokens"] == 120
    assert told["overall"]["unknown"]["tokens"] == 1
    assert told["overall"]["cost_usd"] == 0.5
    assert [row["success"] for row in told["tasks"]] == [True, None]
    # AgentGym's names, for what reads its files.
    index, config = (read(f"out/one/results/{name}.json") for name in ("numpy/index", "run_config"))
    assert (index["repo"], index["summary"]["tasks"]) == ("numpy", 1)
    assert [(row["task_id"], row["result_json"]) for row in index["tasks"]] == [("a", "a.json")]
    assert config["run"]["repos"] == ["numpy", "shop"]
    assert (config["model"]["model"], config["model"]["base_url"]) == ("m", "https://host/v1")
    assert "| a | passed |" in Path("out/one/results/REPORT.md").read_text()


def test_without_tool_calls_all_of_them_are_valid_as_in_the_score(make_run, assessment):
    found = assessment("numpy", 100)
    make_run("one", ("a", "passed", {"assessment": {**found["assessment"], "commands": 0, "commands_ok": 0}}))
    assert main(["report", "one", "-o", "out"]) == 0
    assert read("out/one/results/numpy/a.json")["metrics"]["command_valid_rate"] == 1


def test_a_leaderboard_ranks_models_by_success_then_score(make_run, assessment):
    make_run("one", ("a", "failed", assessment("r", 10)), model="weak")
    make_run("two", ("a", "passed", assessment("r", 90)), model="strong")
    make_run("three", ("a", "captured", {}), model="unjudged")
    make_run("four", ("a", "failed", assessment("r", 50)), model="middling")
    assert main(["report", "--all", "-o", "out"]) == 0
    names = [row["name"] for row in read("out/run_aggregate.json")["leaderboard"]]
    assert names == ["pi · strong", "pi · middling", "pi · weak", "pi · unjudged"]
    first = rows_below(Path("out/REPORT.md").read_text(), "r")[0]
    assert first[:2] == ["pi · middling", "a"]


def test_a_sessions_file_has_its_transcript_and_artifacts_without_links(make_run, new_session, workspace):
    run = make_run("one")
    session = new_session("buy")
    asks = session.says("let me look", ("c1", {"command": "ls fridge"}), thinking="milk?")
    session.call([session.SYSTEM, session.user("buy milk")], asks)
    session.call([session.SYSTEM, session.user("buy milk"), asks, session.result("c1", "eggs")], session.says("bought"))
    session.save(run)
    assessment = {"answer": "out/told[1].json", "outputs": []}
    result = {**read(run.result("buy")), "patch": "workspaces/buy.patch", "assessment": assessment}
    run.result("buy").write_text(json.dumps(result))
    (run.path / "workspaces").mkdir()
    (run.path / "workspaces/buy.patch").write_text(PATCH)

    assert main(["report", "one", "-o", "out"]) == 0
    told = read("out/one/results/shop/buy.json")
    assert [message["role"] for message in told["transcript"]["prompt_messages"]] == ["system", "user"]
    [call] = told["transcript"]["tool_calls"]
    assert (call["tool_name"], call["tool_output"], call["ok"]) == ("bash", "eggs", True)
    assert call["tool_input"] == {"command": "ls fridge"}
    assert [said["content"] for said in told["transcript"]["messages"]] == ["let me look", "bought"]
    # AgentGym's names, for what reads its files.
    assert (told["transcript"]["safety_events"], told["transcript"]["model_final_message"]) == (None, None)
    assert (told["metrics"]["score_0_100"], told["metrics"]["hallucination_signals"]) == (None, 0)
    artifacts = Path("out/one/artifacts/shop/buy")
    kept = ["answer.json", "notes", "out", "task_result.json", "workspace.patch"]
    assert sorted(path.name for path in artifacts.iterdir()) == kept
    assert read(artifacts / "task_result.json") == told
    assert [path.read_text() for path in (artifacts / "out").iterdir()] == ["{}\n"]
    assert (artifacts / "notes/a.md").read_text() == "# Notes\n"
    assert read(artifacts / "answer.json") == {"count": 3}


def test_only_the_highest_attempt_counts_and_an_old_report_is_replaced(make_run):
    make_run("one", ("a", "failed", {}))
    assert main(["report", "one", "-o", "out"]) == 0
    make_run("one", ("a", "failed", {}), ("a", "passed", {"session": "a-a2", "attempt": 2}))
    Path("out/one/results/shop/gone.json").write_text("{}")
    assert main(["report", "one", "-o", "out"]) == 0
    assert [row["verdict"] for row in read("out/run_aggregate.json")["tasks"]] == ["passed"]
    assert sorted(path.name for path in Path("out/one/results/shop").iterdir()) == ["a.json", "index.json"]


def test_what_was_wrong_stands_beside_what_was_expected_cut_and_without_markup(make_run, assessment):
    found = assessment("numpy", 40, failed="a")
    found["assessment"]["outputs"] = [
        {"key": "a", "ok": False, "expected": ["<b>|"], "actual": "x" * 500, "problem": None},
        {"key": "b", "ok": False, "expected": 1, "actual": None, "problem": "answer.json has no 'b'"},
        {"key": "c", "ok": True, "expected": 1, "actual": 1, "problem": None},
    ]
    make_run("one", ("t", "failed", found))
    make_run("two", ("t", "passed", assessment("numpy", 100)), model="other")
    assert main(["report", "--all", "-o", "out"]) == 0
    rows = rows_below(Path("out/REPORT.md").read_text().replace("\\|", "/"), "Wrong outputs of numpy")
    cut = '"' + "x" * 99 + "…"
    assert rows == [["pi · m", "t", "a", '\\["&lt;b>/"\\]', cut], ["pi · m", "t", "b", "1", "answer.json has no 'b'"]]


def test_a_run_in_progress_is_told_as_such(make_run):
    make_run("one", ("a", "passed", {}), ("b", None, {"ended_at": None, "prompt_tokens": None}))
    assert main(["report", "one", "-o", "out"]) == 0
    told = read("out/run_aggregate.json")["overall"]
    assert (told["sessions"], told["judged"], told["apart"], told["unknown"]) == (
        *(2, 1),
        {"unended": 1},
        {"tokens": 1, "duration_s": 1},
    )


def test_captured_text_is_nothing_but_text_in_the_report(make_run):
    make_run("one", ("<img src=x>|`*[x](y)\x1b[31m", "failed", {"corpus": "<b>c|d"}))
    assert main(["report", "one", "-o", "out"]) == 0
    text = Path("out/REPORT.md").read_text()
    assert "\x1b" not in text
    assert "<" not in text
    assert "&lt;img src=x>\\|\\`\\*\\[x\\](y)\\\\u001b\\[31m" in text


def test_a_broken_result_file_is_told_once_and_stops_nothing(make_run, capsys):
    run = make_run("one", ("a", "passed", {}))
    run.result("b").write_text("{")
    assert main(["report", "one", "-o", "out"]) == 1
    assert capsys.readouterr().err.count("b.json") == 1
    assert len(read("out/run_aggregate.json")["tasks"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "out"], "report: name the runs, or pass --all"),
        (["--all", "-o", "out"], "no runs in"),
        (["gone", "-o", "out"], "gone: no run in"),
    ],
)
def test_what_cannot_be_reported_is_one_line_and_writes_nothing(workspace, capsys, words, said):
    assert main(["report", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not Path("out").exists()
