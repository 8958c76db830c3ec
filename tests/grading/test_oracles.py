"""The nine oracles compute what AgentGym's do, on whatever a checkout holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_agentcap.corpus.oraclenames import ORACLES as NAMES
from pytest_agentcap.grading.oracles import ORACLES


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "README.md": "\n  \n# Shop  \nmore\n",
        "LICENSE.md": "MIT",
        ".hidden": "x",
        ".git/config": "token token",
        "src/a.py": "import token\nTOKEN = 1\n",
        "src/deep/b.yml": "a" * 50,
        "src/deep/c.yaml": "b" * 50,
        "docs/.keep": "",
        "docs/x.md": "",
    }.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "tree/blob.bin").write_bytes(b"token\0" * 8)
    return tmp_path / "tree"


@pytest.mark.parametrize(
    ("name", "args", "value"),
    [
        ("top_level_entry_count", {"exclude": ["docs"]}, 4),
        ("top_level_entry_count", {"exclude_hidden": False, "exclude": [".git"]}, 6),
        ("readme_first_nonempty_line", {}, "# Shop  "),
        ("glob_count", {"glob": "**/*.{yml,yaml}"}, 2),
        ("glob_count", {"glob": "**/*", "exclude_dirs": [".git", "deep"]}, 7),
        ("largest_file", {"exclude_dirs": [".git"]}, {"path": "src/deep/b.yml", "size": 50}),
        ("repo_token_count", {"token": "token", "exclude_dirs": [".git"]}, 1),
        ("repo_token_count", {"token": "token", "case_insensitive": True}, 4),
        ("repo_token_count", {"token": "token", "max_bytes": 11}, 2),
        ("has_license_file", {"paths": ["LICENSE", "LICENSE.md"]}, True),
        ("has_license_file", {"paths": ["LICENSE"]}, False),
        ("dir_top_entry_count", {"path": "docs"}, 1),
        ("dir_top_entry_count", {"path": "docs", "exclude_hidden": False}, 2),
        ("dir_top_entry_count", {"path": "absent"}, 0),
        ("answer_md_contains", {"path": "README.md", "must_contain": ["Shop", "more"]}, True),
        ("answer_md_contains", {"path": "README.md", "must_contain": ["less"]}, False),
        ("answer_md_contains", {"path": "absent.md", "must_contain": []}, False),
    ],
)
def test_an_oracle_computes_its_value(tree, name, args, value):
    assert ORACLES[name](repo_root=tree, **args) == value


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("repo_id: shop\ntop_level_entries: 5\nhas_license: true\n", True),
        ("# Summary\n\nRepo_ID : shop\n top_level_entries: 5 \nhas_license: Yes", True),
        ("repo_id: shop\ntop_level_entries: 4\nhas_license: true\n", False),
        ("repo_id: shop\ntop_level_entries: five\nhas_license: true\n", False),
        ("repo_id: other\ntop_level_entries: 5\nhas_license: true\n", False),
        ("repo_id: shop\ntop_level_entries: 5\nhas_license: maybe\n", False),
        ("repo_id: shop\ntop_level_entries: 5\n", False),
    ],
)
def test_key_value_answers_are_held_against_the_tree(tree, text, right):
    (tree / "answer.md").write_text(text)
    args = {"path": "answer.md", "repo_id": "shop", "exclude_top_level": ["answer.md"]}
    assert ORACLES["answer_md_kv_matches"](repo_root=tree, **args) is right


def test_links_that_lead_out_of_the_tree_tell_nothing_of_the_machine(tree, tmp_path):
    (tmp_path / "secret").write_text("s3cret" * 100)
    (tree / "README.md").unlink()
    (tree / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="leads out of the repository"):
        ORACLES["readme_first_nonempty_line"](repo_root=tree)
    assert ORACLES["largest_file"](repo_root=tree)["size"] == 50
    assert ORACLES["repo_token_count"](repo_root=tree, token="s3cret") == 0


def test_fifos_do_not_stop_an_oracle(tree):
    os.mkfifo(tree / "pipe")
    assert ORACLES["repo_token_count"](repo_root=tree, token="import") == 1


def test_every_oracle_may_be_named_in_a_task():
    assert set(ORACLES) == NAMES
