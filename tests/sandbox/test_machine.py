from __future__ import annotations

import json

import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.machine import machine_uri

SCRIPT = """
case "$*" in
    "machine list --format json") echo '{machines}' ;;
    machine\\ start\\ *) {start} ;;
    machine\\ inspect\\ *) echo /run/$5.sock ;;
    *) exit 9 ;;
esac
"""


def script(*machines: dict[str, object], start: str = "echo started") -> str:
    return SCRIPT.replace("{machines}", json.dumps(machines)).replace("{start}", start)


def test_a_machine_that_runs_is_used(fake_podman):
    calls = fake_podman(script({"Name": "podman-machine-default*", "Default": True}, {"Name": "b", "Running": True}))
    said: list[str] = []
    assert machine_uri(said.append) == "unix:///run/b.sock"
    assert said == []
    assert "machine start" not in calls.read_text()


def test_a_machine_that_stands_still_is_started_and_that_is_said(fake_podman):
    calls = fake_podman(script({"Name": "a"}, {"Name": "podman-machine-default*", "Default": True, "Running": False}))
    said: list[str] = []
    assert machine_uri(said.append) == "unix:///run/podman-machine-default.sock"
    assert said == ["starting podman's virtual machine podman-machine-default; this takes a minute"]
    assert "machine start podman-machine-default\n" in calls.read_text()


def test_without_a_machine_it_is_said_how_to_make_one(fake_podman):
    fake_podman(script())
    with pytest.raises(SandboxError, match=r"make one with: podman machine init --memory 8192 --now$"):
        machine_uri(lambda line: None)


def test_a_machine_that_does_not_start_says_why(fake_podman):
    fake_podman(script({"Name": "a"}, start="echo 'Error: no space left' >&2; exit 125"))
    with pytest.raises(SandboxError, match=r"^podman machine failed: Error: no space left$"):
        machine_uri(lambda line: None)
