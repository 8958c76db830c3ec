from __future__ import annotations

import pytest

from pytest_agentcap.overrides import Overrides, overrides_by_file
from pytest_agentcap.shipped import packaged

OPEN = """
    from dataclasses import replace
    import pytest

    @pytest.fixture
    def sandbox_options(sandbox_options):
        return replace(sandbox_options, network="open")
"""
TURNS = """
    import pytest

    @pytest.fixture
    def turns():
        return 2
"""


def test_the_nearest_definition_wins_and_what_is_computed_is_not_guessed(project):
    project.write("conftest.py", OPEN + TURNS)
    project.write("a/conftest.py", OPEN.replace('"open"', '"model"'))
    project.write("b/conftest.py", TURNS.replace("return 2", "return len('ab')"))
    project.write("b/test_own.py", TURNS.replace("return 2", "return 5"))
    project.write("c/conftest.py", "def broken(:\n")
    ids = [
        "a/tasks.txt::test_task[x]",
        "a/tasks.txt::test_task[y]",
        "b/tasks.txt::t",
        "b/test_own.py::t",
        "c/d/x.txt::t",
    ]
    assert overrides_by_file(ids, project.path) == {
        "a/tasks.txt": Overrides("model", 2),
        "b/tasks.txt": Overrides("open", 0),
        "b/test_own.py": Overrides("open", 5),
        "c/d/x.txt": Overrides("open", 2),
    }


def test_the_shipped_corpus_about_the_hub_asks_for_the_network():
    root = packaged("corpora").parent
    ids = ["corpora/hf-hub/tasks.txt::t", "corpora/transformers/tasks.txt::t"]
    found = overrides_by_file(ids, root)
    assert [found[nodeid.partition("::")[0]].network for nodeid in ids] == ["open", None]


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_the_announcement_and_the_manifest_say_what_a_corpus_asks_for(project, workers):
    project.write_tasks("hello", name="plain/tasks.txt")
    project.write_tasks("hello", name="long/tasks.txt")
    project.write("long/conftest.py", TURNS)
    done = project.capture("long", workers)
    done.stdout.fnmatch_lines(["agentcap: 1 session = 1 task * 2 turns each"])
    assert project.manifests()[0]["turns_per_task"] == 2
    done = project.capture("long", "plain", workers, "--turns", "3")
    done.stdout.fnmatch_lines(["agentcap: 2 sessions * 2 or 3 turns each"])
    assert sorted(result["turns_planned"] for result in project.results()) == [2, 2, 3]
