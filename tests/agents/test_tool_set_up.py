from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_agentcap.agents.commands import variables_of
from pytest_agentcap.agents.find import find_agent
from pytest_agentcap.agents.tools import set_up_tools
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.sandbox.base import SandboxError, SandboxOptions
from pytest_agentcap.sandbox.egress import ClosedDoor
from pytest_agentcap.sandbox.host import HostSandbox, HostSession
from pytest_agentcap.sandbox.reaper import Owner

LEASE = "lease-0123456789"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    (tmp_path / "tools/bin").mkdir(parents=True)
    return tmp_path / "tools"


@pytest.fixture
def box(tmp_path: Path, tools: Path) -> Iterator[HostSession]:
    session = HostSandbox(None, Owner.claim(tmp_path)).start("a", ClosedDoor(), SandboxOptions(tools=tools))
    yield session
    session.close()


def set_up(box: HostSession, scratch: Path) -> None:
    set_up_tools(find_agent("pi", scratch), variables_of("m", box, LEASE), box, Mask.of((), LEASE), scratch)


def test_tools_set_themselves_up_for_the_agent_in_its_workspace(box: HostSession, tools: Path, tmp_path: Path) -> None:
    (tools / "bin/mine").write_text("#!/bin/sh\necho for $1\n")
    (tools / "bin/mine").chmod(0o755)
    (tools / "tool_init.sh").write_text('mine "$AGENTCAP_AGENT" > told; echo "$AGENTCAP_TOOL_DIR" > ~/place\n')
    set_up(box, tmp_path)
    assert Path(box.workspace, "told").read_text() == "for pi\n"
    assert Path(box.home, "place").read_text() == f"{tools}\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no index >&2; echo; exit 3", "ended with exit code 3: no index"),
        ("exit 1", "ended with exit code 1: it said nothing"),
        ('echo "$AGENTCAP_PROXY_URL"; false', "ended with exit code 1: http://127.0.0.1:.*/<lease>/v1"),
    ],
)
def test_a_set_up_that_fails_says_why(box: HostSession, tools: Path, tmp_path: Path, script: str, why: str) -> None:
    (tools / "tool_init.sh").write_text(f"{script}\n")
    with pytest.raises(SandboxError, match=f"^--tool-dir: tool_init.sh {why}$"):
        set_up(box, tmp_path)
