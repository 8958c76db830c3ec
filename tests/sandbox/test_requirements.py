from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.sandbox.requirements import Host, missing_parts, unenforced_limits

INSTALLED = {"crun", "conmon", "newuidmap", "newgidmap", "slirp4netns"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host on which podman works for the user ada."""
    for path, text in {
        "etc/subuid": "bob:1:2\nada:100000:65536\n",
        "etc/subgid": "1000:100000:65536\n",
        "proc/sys/user/max_user_namespaces": "63000\n",
        "dev/net/tun": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def missing(root: Path, *absent: str, network: str = "open", uid: int = 1000) -> list[str]:
    def find(program: str) -> str | None:
        return program if program in INSTALLED - set(absent) else None

    found = missing_parts(Host(uid, "ada", find, root), network)
    assert all("\n" not in line for line in found)
    return [line.partition(":")[0] for line in found]


def test_nothing_is_missing_where_all_is_there(root: Path) -> None:
    assert missing(root) == []


def test_each_part_that_is_missing_is_a_line(root: Path) -> None:
    assert missing(root, "crun") == ["runtime"]
    assert missing(root, "conmon") == ["runtime"]
    assert missing(root, "newgidmap") == ["subuid"]
    assert missing(root, "slirp4netns") == ["network open"]
    (root / "etc/subuid").write_text("bob:1:2\n")
    (root / "etc/subgid").unlink()
    (root / "dev/net/tun").unlink()
    (root / "proc/sys/user/max_user_namespaces").write_text("0\n")
    assert missing(root) == ["user namespaces", "subuid", "subgid", "tun"]


def test_what_is_for_the_open_network_alone_is_not_missed_without_it(root: Path) -> None:
    (root / "dev/net/tun").unlink()
    assert missing(root, "slirp4netns", network="model") == []


def test_root_needs_a_runtime_alone(root: Path) -> None:
    (root / "etc/subuid").unlink()
    assert missing(root, "newuidmap", uid=0) == []
    assert missing(root, "crun", uid=0) == ["runtime"]


def test_helpers_are_found_where_podman_looks_for_them(root: Path) -> None:
    (root / "usr/libexec/podman").mkdir(parents=True)
    (root / "usr/libexec/podman/conmon").touch()
    assert missing(root, "conmon") == []


def test_ranges_of_a_directory_service_are_believed(root: Path) -> None:
    (root / "etc/subuid").unlink()
    (root / "etc/nsswitch.conf").write_text("passwd: files sss\nsubid: sss\n")
    assert missing(root) == []


@pytest.mark.parametrize(
    ("host", "lost"),
    [
        ({"security": {"rootless": False}, "cgroupVersion": "v1", "cgroupControllers": []}, None),
        ({"security": {"rootless": True}, "cgroupVersion": "v2", "cgroupControllers": ["cpu", "memory", "pids"]}, None),
        ({"security": {"rootless": True}, "cgroupVersion": "v2", "cgroupControllers": ["memory", "pids"]}, "--cpus"),
        ({"security": {"rootless": True}, "cgroupVersion": "v1"}, "--memory, --pids, --cpus"),
    ],
)
def test_limits_that_will_not_hold_are_named(host: dict[str, object], lost: str | None) -> None:
    lines = unenforced_limits({"host": host})
    assert [line.split(" cannot")[0] for line in lines] == ([f"cgroups: {lost}"] if lost else [])
