from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest


def _fixture_module() -> Any:
    # The folder of a corpus is no package, and its modules have names that others may have as well.
    spec = importlib.util.spec_from_file_location("nl2bash_fixture", Path(__file__).with_name("fixture.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def testdata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree that the tasks are about, made once for each worker."""
    folder = tmp_path_factory.mktemp("nl2bash") / "testdata"
    folder.mkdir()
    _fixture_module().make_tree(folder)
    return folder


@pytest.fixture
def sandbox_options(sandbox_options: Any, testdata: Path) -> Any:
    """Let the agent read the tree at /testdata."""
    return replace(sandbox_options, data={_fixture_module().MOUNT: testdata})


@pytest.fixture
def grader() -> Path:
    return Path(__file__).with_name("grader.py")
