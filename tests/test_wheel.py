from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it the way an installer does."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def from_wheel(installed: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), "AGENTCAP_WORKSPACE": str(cwd)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_brings_agents_corpora_and_the_viewer(installed: Path, tmp_path: Path) -> None:
    cli = ("-c", "import sys; from pytest_agentcap.cli import main; sys.exit(main(sys.argv[1:]))")
    listed = from_wheel(installed, *cli, "agents", cwd=tmp_path)
    folders = {path.parent.name for path in (REPOSITORY / "agents").glob("*/agent.toml")}
    assert {line.split()[0] for line in listed.splitlines()[1:]} == folders
    quickstart = Path(from_wheel(installed, *cli, "corpora", "quickstart", cwd=tmp_path).strip())
    assert quickstart.is_relative_to(installed)
    said = from_wheel(
        installed, "-m", "pytest", str(quickstart), "--agent=loop", "--sandbox=host", "--limit=1", cwd=tmp_path
    )
    assert "1 passed" in said
    assert "1 sessions" in from_wheel(installed, *cli, "view", ".", cwd=tmp_path)
