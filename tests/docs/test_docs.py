"""What README.md and docs/ say is so: links, options, columns, fields, and the examples, which are run."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.cli import COMMANDS, main
from pytest_agentcap.options import OPTIONS
from pytest_agentcap.publish.schema import SCHEMA
from pytest_agentcap.runs.results import SessionResult, TurnResult
from pytest_agentcap.safety.audit import SafetyEvent

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_agentcap"
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(ROOT.glob("docs/*.md"))}
CHINESE = "docs/zh-CN/README.md"
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", CHINESE)} | PAGES
OTHERS_OPTIONS = {
    "--add-subuids",
    "--binary",
    "--collect-only",
    "--context",
    "--data-binary",
    "--dist",
    "--fit",
    "--from",
    "--include-reasoning-content",
    "--jinja",
    "--junitxml",
    "--lf",
    "--max-steps",
    "--maxfail",
    "--maxschedchunk",
    "--now",
    "--parallel",
    "--prefix",
    "--reasoning",
    "--rm",
    "--rootdir",
    "--temp",
    "--temperature",
    "--tensor-split",
}
FIXTURES = {
    *("capture_proxy", "agent_sandbox", "agent_session", "agent", "model", "task", "trial"),
    *(
        "sandbox_options",
        "workspace_source",
        "turns",
        "followup",
        "grader",
        "capture_run",
        "shared_home",
        "replay_rules",
    ),
}
# A file of an example: its path in a line of its own, then a block with all that is in it.
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (`.*?) \| (.*) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


def section(page: str, heading: str) -> str:
    """Return what stands below a heading up to the next one of its level or above."""
    level = heading.index(" ")
    _, _, below = TEXTS[page].partition(f"\n{heading}\n")
    assert below, f"{page} has no section {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", below, flags=re.MULTILINE)[0]


def named_in_rows(text: str) -> list[str]:
    """Return the code in the first cells of a text's tables."""
    return [name for cell, _ in ROW.findall(text) for name in CODE.findall(cell)]


def without_files(text: str) -> str:
    return FILE.sub("", text)


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def write_files(page: str, project: Any) -> None:
    for name, text in FILE.findall(TEXTS[page]):
        path = project.write(name, text)
        if text.startswith("#!"):
            path.chmod(0o755)


@pytest.mark.parametrize("name", TEXTS)
def test_relative_links_lead_to_files_and_headings_that_exist(name):
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text("utf-8")), target


def test_the_readme_links_to_the_pages_for_users():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", TEXTS["README.md"]))
    assert set(PAGES) - linked <= {"docs/files.md"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_begins_with_one_sentence_that_says_what_it_is_for(name):
    title, _, rest = PAGES[name].partition("\n\n")
    opening = " ".join(rest.partition("\n\n")[0].split())
    assert title.startswith("# ")
    assert opening.startswith("This page says ") or opening.startswith("This page lists ")
    assert opening.count(". ") == 0
    assert opening.endswith(".")


# The options of other systems stand in docs/switching.md: test_switching.py tells them from ours.
@pytest.mark.parametrize("name", [name for name in TEXTS if name != "docs/switching.md"])
def test_every_option_that_is_named_exists(name):
    ours = {f"--{prefix}{option.name}" for option in OPTIONS for prefix in ("", "agentcap-")}
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", without_files(TEXTS[name])))
    assert named - ours - options_of_commands() - options_of_launchers() - OTHERS_OPTIONS - {"--agentcap-NAME"} == set()


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_is_closed_and_no_merge_has_left_its_marks(name):
    assert len(re.findall(r"^ *```", TEXTS[name], re.MULTILINE)) % 2 == 0
    assert not re.search(r"^(<{7} |={7}$|>{7} )", TEXTS[name], re.MULTILINE)


@pytest.mark.parametrize(("page", "command"), [("export", "export"), ("inspect", "inspect"), ("inspect", "show")])
def test_the_page_of_a_command_walks_through_every_flag(page, command):
    listed = {word.split()[0] for word in named_in_rows(PAGES[f"docs/{page}.md"]) if word.startswith("-")}
    assert {flag for flag in options_of(command) if flag.startswith("--")} - listed == {"--help"}


def options_of(command: str) -> set[str]:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for each in COMMANDS:
        each.add(commands)
    return set(commands.choices[command]._option_string_actions)


def options_of_commands() -> set[str]:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for command in COMMANDS:
        command.add(commands)
    return {option for each in commands.choices.values() for option in each._option_string_actions}


def options_of_launchers() -> set[str]:
    texts = [(ROOT / "tools" / "launch" / name).read_text("utf-8") for name in ("slurm", "hf-jobs")]
    return {option for text in texts for option in re.findall(r'add_argument\("(--[\w-]+)"', text)}


def test_every_option_is_in_the_table_of_the_readme():
    listed = re.findall(r"^\| `--([\w-]+)", section("README.md", "## Options"), re.MULTILINE)
    assert listed == [option.shown.removeprefix("--") for option in OPTIONS]


def test_every_column_is_described_in_order_with_its_type():
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section("docs/files.md", "## captures.parquet"), re.MULTILINE)
    # Arrow calls the items of a list `item` in one version and `element` in another.
    types = [re.sub(r"^list<\w+: (\w+)>$", r"list of \1", str(column.type)) for column in SCHEMA]
    assert rows == list(zip(SCHEMA.names, types, strict=True))


def test_every_field_of_a_result_is_described():
    text = section("docs/files.md", "## results/")
    assert set(named_in_rows(text)) == {field.name for field in fields(SessionResult)} | {"format", "completed_turns"}
    assert {field.name for field in fields(TurnResult)} <= set(CODE.findall(text))


def test_every_public_fixture_is_described():
    assert set(named_in_rows(section("docs/corpora.md", "## Fixtures"))) == FIXTURES


def test_every_agent_and_corpus_that_is_shipped_is_described():
    agents = {path.parent.name for path in ROOT.glob("agents/*/agent.toml")}
    assert set(named_in_rows(section("docs/agents.md", "## Shipped agents"))) == agents
    corpora = {path.name for path in ROOT.glob("corpora/*") if (path / "README.md").is_file()}
    assert set(named_in_rows(section("docs/corpora.md", "## Shipped corpora"))) == corpora


def test_every_agent_that_is_shipped_has_been_run_or_the_page_says_why_not():
    page = "docs/tested-models-and-agents.md"
    agents = {path.parent.name for path in ROOT.glob("agents/*/agent.toml")}
    run = set(re.findall(r"^\| `[^`]+` \| `([^`]+)` \|", TEXTS[page], re.MULTILINE))
    reasons = dict(re.findall(r"^- `([^`]+)`: (.+)$", TEXTS[page].partition("\n## Not run\n")[2], re.MULTILINE))
    assert run | set(reasons) == agents
    assert "no run has been recorded yet." not in reasons.values()


def test_every_key_and_placeholder_of_an_agent_is_described():
    import msgspec

    from pytest_agentcap.agents.spec import (
        MADE,
        AgentFile,
        AgentSpec,
        CommandLines,
        ImageWay,
        Install,
        McpShape,
        McpWay,
        ReplySource,
        SessionSource,
        Trace,
    )
    from pytest_agentcap.agents.templates import IMAGE, Variables

    tables = {"command": CommandLines, "session": SessionSource, "reply": ReplySource}
    tables |= {"trace": Trace, "install": Install, "mcp": McpWay, "mcp.shape": McpShape, "images": ImageWay}
    keys = {field.name for field in msgspec.structs.fields(AgentSpec)} - {*MADE, *tables}
    tables |= {"files": AgentFile}
    keys |= {f"{name}.{field.name}" for name, struct in tables.items() for field in msgspec.structs.fields(struct)}
    assert set(named_in_rows(section("docs/agents.md", "### agent.toml"))) == keys - {"mcp.shape"}
    placeholders = {f"{{{{{field.name}}}}}" for field in fields(Variables)}
    assert set(named_in_rows(section("docs/agents.md", "### Placeholders"))) == {*placeholders, IMAGE}


def test_every_key_of_a_headless_schema_and_of_a_step_is_described():
    import msgspec

    from pytest_agentcap.agents.headless_schema import HeadlessSchema
    from pytest_agentcap.agents.steps import Step

    keys = {field.encode_name for field in msgspec.structs.fields(HeadlessSchema)}
    assert keys <= set(named_in_rows(section("docs/adapters.md", "## Headless adapters")))
    assert set(named_in_rows(section("docs/files.md", "## sessions/"))) == {field.name for field in fields(Step)}


def test_the_example_adapter_runs_as_shown(project):
    write_files("docs/adapters.md", project)
    project.write_tasks("Say something")
    project.pytest("--agent", "./words.json", "--sandbox", "host", "--turns", "2").assert_outcomes(passed=1)
    (result,) = project.results()
    assert len(result["turns"]) == 2


def test_every_module_has_its_place_in_the_rooms():
    text = section("docs/architecture.md", "## Rooms")
    rows = {CODE.findall(cell)[0]: cells for cell, cells in ROW.findall(text)}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    rooms = {path.parent.name + "/" for path in PACKAGE.glob("*/*.py")}
    assert set(rows) == modules | rooms
    for room in rooms:
        listed = CODE.findall(rows[room].rpartition(" | ")[2])
        assert set(listed) == {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}


def test_the_example_corpus_runs_as_shown(project, need):
    need("jq")
    write_files("docs/corpora.md", project)
    done = project.capture("notes", "--grader", "notes/short.sh")
    done.assert_outcomes(passed=6)
    assert sorted(result["verdict"] for result in project.results()) == ["captured"] * 2 + ["passed"] * 4
    graders = [[grader["name"] for grader in result["graders"]] for result in project.results()]
    assert graders.count(["check", "short"]) == 4


def test_the_example_graders_run_as_shown(project, need):
    need("jq")
    need("node")
    write_files("docs/graders.md", project)
    gates = ("--fail-under", "pass_rate=0.8", "--results", "results.jsonl", "-n", "2")
    done = project.capture("checks", "--grader", "length.mjs", "--grader", "brief.sh", *gates)
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines(["gate     pass_rate=0.8 is met by loop/scripted: 1"])
    assert len((project.path / "results.jsonl").read_text().splitlines()) == 3
    graders = {result["task_id"]: [each["name"] for each in result["graders"]] for result in project.results()}
    assert graders == {
        "say": ["contains", "regex", "length", "brief"],
        "data": ["json-schema", "git-diff", "length", "brief"],
        "script": ["command", "length", "brief"],
    }


def test_every_built_in_grader_and_key_is_described():
    import msgspec

    from pytest_agentcap.grading.arguments import Changes, Texts
    from pytest_agentcap.grading.builtin import NAMES

    text = section("docs/graders.md", "## Built-in graders")
    keys = {field.name for kind in (Texts, Changes) for field in msgspec.structs.fields(kind)}
    assert set(NAMES) <= set(named_in_rows(text))
    assert keys <= set(CODE.findall(text))


def test_every_field_of_a_manifest_and_of_captures_is_described(project):
    write_files("docs/corpora.md", project)
    project.capture("notes/prompts.jsonl", "--label", "example").assert_outcomes(passed=2)
    (run,), (manifest,) = project.runs(), project.manifests()
    text = section("docs/files.md", "## run.json")
    assert set(named_in_rows(text)) == set(manifest)
    assert set(manifest["tasks"][0]) | set(manifest["tasks"][0]["turns"][0]) <= set(CODE.findall(text))

    request, _, response = section("docs/files.md", "## Pair files").partition("`<rid>.response.json`:")
    odd = {"undecoded", "waited_ms", "body_base64", "raw_base64", "replayed_from", "reissued_from"}
    for half, body, text in (("request", "body", request), ("response", "raw", response)):
        described = set(named_in_rows(text)) - odd - ({"body"} - {body})
        path = next(run.glob(f"captures/*.{half}.json"))
        assert set(json.loads(path.read_bytes())) == described


def test_the_snippets_that_read_files_run(project, monkeypatch):
    write_files("docs/corpora.md", project)
    project.capture("notes/prompts.jsonl").assert_outcomes(passed=2)
    monkeypatch.chdir(project.path)
    sliced, rows = re.findall(r"^```python\n(.*?)^```$", TEXTS["docs/files.md"], re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(sliced, names)
    assert json.loads(names["body"])["model"] == "scripted"
    exec(rows, names)
    assert names["row"]["status_code"] == 200


def test_the_snippets_that_use_captures_run(project, monkeypatch, capsys):
    pytest.importorskip("duckdb")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    write_files("docs/corpora.md", project)
    project.capture("notes/prompts.jsonl").assert_outcomes(passed=2)
    monkeypatch.chdir(project.path)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template).save_pretrained("tokenizer")
    (run,) = project.runs()
    rid = next(run.glob("captures/*.request.json")).name[:32]
    names: dict[str, Any] = {"RUN": str(run), "RID": rid, "TOKENIZER": "tokenizer"}
    for page in ("docs/using-captures.md", "docs/export.md"):
        for snippet in re.findall(r"^```python\n(.*?)^```$", TEXTS[page], re.MULTILINE | re.DOTALL):
            exec(snippet, names)
    told = capsys.readouterr().out
    assert rid in told
    assert "<system>" in names["text"]
    assert "main ['(init 2)'" in told
    assert names["faults"].lines == []


def test_every_format_has_its_section():
    from pytest_agentcap.formats.registry import FORMATS

    assert all(section("docs/export.md", f"## {name}") for name in FORMATS)


def test_the_example_tasks_on_a_repository_run_as_shown(project):
    write_files("docs/repositories.md", project)
    project.write("shop/pages/home.md", "# Home\n")
    project.write("shop/pages/shop.md", "# Shop\n")
    project.write("shop/prices.csv", "name,price\ntea,4.10\nbread,3.25\n")
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-qm", "Begin")):
        subprocess.run(["git", *words], cwd=project.path / "shop", check=True)
    subprocess.run([sys.executable, "gym/make_tasks.py"], cwd=project.path, check=True)
    project.capture("gym", "-n", "2").assert_outcomes(passed=1, failed=2)
    first, *batch = project.results()
    assert (first["verdict"], first["assessment"]["score"]) == ("passed", 100)
    assert [(each["verdict"], each["assessment"]["failure_reason"]) for each in batch] == [("failed", "value")] * 2
    section_ = section("docs/files.md", "## results/")
    named = set(CODE.findall(section_))
    assert set(first["assessment"]) | set(first["assessment"]["outputs"][0]) | set(SafetyEvent.__slots__) <= named


def test_every_oracle_key_weight_and_event_of_tasks_on_repositories_is_described():
    from pytest_agentcap.corpus import repotasks

    assert set(named_in_rows(section("docs/repositories.md", "## Oracles"))) == repotasks.ORACLES
    named = set(
        CODE.findall(re.sub(r"^```.*?^```$", "", TEXTS["docs/repositories.md"], flags=re.MULTILINE | re.DOTALL))
    )
    for struct in (repotasks._Task, repotasks._Repository, repotasks._Output, repotasks._Policy, repotasks._Weights):
        assert set(struct.__struct_fields__) <= named


def test_the_example_tests_are_skipped_without_an_agent(project):
    write_files("docs/corpora.md", project)
    done = project.pytest("notes", "-rs")
    done.assert_outcomes(skipped=3)
    done.stdout.fnmatch_lines(["*pass --agent NAME*"])


def test_the_example_agent_passes_the_quickstart_corpus(project, need):
    need("curl")
    need("jq")
    write_files("docs/adding-an-agent.md", project)
    corpus = ROOT / "corpora" / "quickstart"
    done = project.pytest(str(corpus), "--agent", "./agents/tiny", "--sandbox", "host", "--turns", "2", "-n", "2")
    done.assert_outcomes(passed=8)
    assert {result["verdict"] for result in project.results()} == {"passed"}
    assert {len(result["turns"]) for result in project.results()} == {2}


def test_the_check_says_of_the_example_agent_what_is_shown(project, need, monkeypatch, capsys):
    need("curl")
    need("jq")
    write_files("docs/adding-an-agent.md", project)
    monkeypatch.chdir(project.path)
    assert main(["agents", "check", "./agents/tiny", "--sandbox", "host"]) == 0
    said = capsys.readouterr().out.splitlines()
    shown = re.search(r"^    STEP.*?(?=^```)", TEXTS["docs/adding-an-agent.md"], re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert [line[:21] for line in said] == [line[:21] for line in shown[0].splitlines()]


def test_the_settings_for_podman_are_those_that_the_tool_tries():
    tool = (ROOT / "tools" / "configure-podman").read_text("utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", TEXTS["docs/capture.md"], re.MULTILINE | re.DOTALL)
    shown = {re.sub(r"=\d+:\d+", "=$(limit", line).partition("$(limit")[0] for line in block.splitlines()}
    assert all(line.replace('"', r"\"") in tool for line in shown)
