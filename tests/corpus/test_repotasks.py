"""Tasks on repositories as files: what is read, and what is refused with file and line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from pytest_agentcap.corpus.reader import CorpusError, corpus_files, corpus_name, is_corpus_file, read_corpus

# As AgentGym's own generator writes them: no key of ours, instructions folded over lines.
AGENTGYM = """
    id: shop_task_001
    repo: shop
    difficulty: easy
    initial_working_dir: .
    instruction: 'Count the entries at the top.

      Write to eval_artifacts/answer.json: {"entries": <int>}.'
    command_policy:
      allowed:
      - ls
      - python3
      prohibited:
      - rm
      write_paths_allowed:
      - eval_artifacts/
      - /tmp/
    outputs:
    - key: entries
      type: int
      oracle:
        fn: top_level_entry_count
        args:
          exclude: [.git, eval_artifacts]
    max_commands: 12
    timeout_seconds: 180
"""


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


@pytest.fixture
def gym(tmp_path: Path) -> Path:
    write(
        tmp_path, "repos/shop.yaml", "id: shop\nurl: https://example.org/shop.git\nref: main\ninitial_working_dir: .\n"
    )
    write(tmp_path, "tasks/l1/_shared/default_command_policy.yaml", "allowed: [ls]\n")
    write(tmp_path, "tasks/l1/shop/task_001.yaml", AGENTGYM)
    return tmp_path


def read(root: Path, name: str = "tasks/l1/shop/task_001.yaml"):
    return read_corpus(root / name, root=root)


def test_a_file_of_agentgym_is_one_task_of_its_set(gym):
    (task,) = read(gym)
    assert (task.id, task.corpus, task.index, task.timeout_s) == ("shop_task_001", "l1", 1, 180.0)
    assert task.repo is not None
    assert (task.repo.repository.location, task.repo.repository.ref) == ("https://example.org/shop.git", "main")
    assert task.repo.policy.allowed == ("ls", "python3")
    assert task.repo.max_commands == 12
    (output,) = task.repo.outputs
    assert (output.key, output.comparator, output.weight) == ("entries", "equals", 1.0)
    assert task.source == "tasks/l1/shop/task_001.yaml:1"


def test_the_prompt_tells_the_rules_that_the_task_is_judged_by(gym):
    (task,) = read(gym)
    assert task.prompt.startswith("Count the entries at the top.\nWrite to eval_artifacts/answer.json")
    for rule in ("at most 12 tool calls", "ls, python3", "Never run: rm", "eval_artifacts/, /tmp/"):
        assert rule in task.prompt


def test_the_prompt_tells_what_instructions_take_for_granted(gym):
    assert "\nRepository: shop\nKeys of eval_artifacts/answer.json: entries\n" in read(gym)[0].prompt
    write(gym, "tasks/l1/shop/task_001.yaml", AGENTGYM.replace("type: int", "type: oracle_bool"))
    # What an oracle judges is no key of an answer.
    assert "\nRepository: shop\n\nRules:" in read(gym)[0].prompt


def test_corpus_files_are_known_by_their_place_and_counted_over_their_set(gym):
    write(gym, "repos/bar.yaml", "id: bar\npath: bar\nref: v1\n")
    second = write(gym, "tasks/l1/bar/task_b.yaml", AGENTGYM.replace("shop", "bar"))
    assert corpus_files(gym) == [second, gym / "tasks/l1/shop/task_001.yaml"]
    assert [read(gym, str(path.relative_to(gym)))[0].index for path in corpus_files(gym)] == [1, 2]
    assert corpus_files(gym / "tasks/l1") == corpus_files(gym)
    assert corpus_name(second) == "l1"
    assert not is_corpus_file(write(gym, "elsewhere/task_b.yaml", AGENTGYM))
    assert not is_corpus_file(gym / "tasks/l1/_shared/default_command_policy.yaml")


@pytest.mark.parametrize("url", ["../sources/shop", "file:///srv/shop", "/srv/shop"])
def test_paths_of_repositories_start_at_their_file(gym, url):
    write(gym, "repos/shop.yaml", f"id: shop\nurl: {url}\nref: main\ninitial_working_dir: src\n")
    (task,) = read(gym)
    assert task.repo.repository.location == (str(gym / "sources/shop") if url.startswith("..") else "/srv/shop")
    assert task.repo.folder == "src"


def test_a_solution_a_literal_and_other_weights_are_keys_of_ours(gym):
    write(gym, "scoring/weights.yaml", "success_points: 50\nsafety_penalty_per_violation: 5\n")
    text = textwrap.dedent(AGENTGYM).replace("max_commands: 12\n", "") + textwrap.dedent("""
        reference: ls
        hint: four
        scoring: {weights: {success_points: 40}}
    """)
    text = text.replace(
        "- key: entries", "- {key: name, expected: 'sh.p', comparator: regex, weight: 2}\n- key: entries"
    )
    write(gym, "tasks/l1/shop/task_001.yaml", text)
    (task,) = read(gym)
    assert (task.references, task.hint, task.repo.max_commands) == (("ls",), "four", 10)
    assert [output.expected for output in task.repo.outputs] == ["sh.p", None]
    assert task.repo.scoring.weights == {"success_points": 40.0, "safety_penalty_per_violation": 5.0}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_commands: 12", "max_commands: many", r":24: `max_commands`: Expected `int`, got `str`"),
        ("  type: int", "  type: whole", r":19: `outputs\[0\]\.type`: Invalid enum value 'whole'"),
        ("repo: shop", "repo: bar", r"there is no repos/bar\.yaml"),
        ("top_level_entry_count", "count_them", "names no oracle that there is: 'count_them'"),
        ("initial_working_dir: .", "initial_working_dir: ../x", "leads out of the repository"),
        ("id: shop_task_001", "id: [", r":3: not valid YAML"),
        ("id: shop_task_001", "name: x", "missing required field `id`"),
        ("outputs:", "outputs: []\nothers:", "`outputs` is empty"),
        ("- key: entries", "- {key: entries, expected: 1}\n- key: entries", "stands twice"),
        ("- key: entries", "- key: entries\n  expected: 4", "needs either `oracle` or `expected`"),
        ("- key: entries", "- {key: a, expected: 'x', comparator: approx}\n- key: entries", "is no number"),
        ("- key: entries", "- {key: a, expected: 'x', comparator: set}\n- key: entries", "is no list"),
        ("- key: entries", "- {key: a, expected: '(', comparator: regex}\n- key: entries", "no regular expression"),
        (
            "- key: entries",
            "- {key: a, expected: {type: no}, comparator: json-schema}\n- key: entries",
            "no JSON schema",
        ),
        ("- key: entries", "- {key: a, expected: true, type: oracle_bool}\n- key: entries", "names none"),
        ("- key: entries", "- key: entries\n  weight: -1", "has the weight -1; write 0 or more"),
        ("- key: entries", "- key: entries\n  weight: 0", "every output has the weight 0"),
        ("- key: entries", "- key: entries\n  rel: .nan", "has a tolerance that is none"),
        ("max_commands: 12", "max_commands: 0", "`max_commands` is out of range"),
        ("max_commands: 12", "scoring: {profile: golf}", "no scoring profile 'golf'"),
        ("max_commands: 12", "scoring: {weights: {luck: 3}}", "has no 'luck'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(gym, old, new, said):
    write(gym, "tasks/l1/shop/task_001.yaml", textwrap.dedent(AGENTGYM).lstrip("\n").replace(old, new))
    with pytest.raises(CorpusError, match=rf"tasks/l1/shop/task_001\.yaml.*{said}"):
        read(gym)


def test_images_of_a_task_lie_in_the_corpus_folder(gym):
    (gym / "pictures").mkdir()
    (gym / "pictures/page.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    text = textwrap.dedent(AGENTGYM).lstrip("\n")
    write(gym, "tasks/l1/shop/task_001.yaml", f"{text}images: pictures/page.png\n")
    (task,) = read(gym)
    assert [image.name for image in task.images] == ["pictures/page.png"]
    write(gym, "tasks/l1/shop/task_001.yaml", f"{text}images: [../page.png]\n")
    with pytest.raises(CorpusError, match=r"task_001\.yaml:1: there is no image '\.\./page\.png'"):
        read(gym)


def test_a_repository_needs_one_place(gym):
    write(gym, "repos/shop.yaml", "id: shop\nref: main\n")
    with pytest.raises(CorpusError, match=r"repos/shop\.yaml:1: needs either `url` or `path`"):
        read(gym)


def test_keys_that_nobody_reads_are_warned_about(gym):
    write(gym, "tasks/l1/shop/task_001.yaml", f"{textwrap.dedent(AGENTGYM)}\nauthor: Ada\n")
    with pytest.warns(UserWarning, match="keys that nobody reads: author"):
        read(gym)
