from __future__ import annotations

import json

from pytest_agentcap.sandbox.working_containers import remove_working_containers

SCRIPT = """
case "$*" in
    "ps --all --external --no-trunc --format json") cat {listed} ;;
    "info --format {{{{.Store.GraphRoot}}}}/{{{{.Store.GraphDriverName}}}}-containers") echo {store} ;;
    rm\\ --force\\ *) ;;
    *) exit 9 ;;
esac
"""


def test_only_working_containers_of_builds_with_a_mount_of_the_folder_are_removed(tmp_path, fake_podman):
    state, store = tmp_path / "state", tmp_path / "overlay-containers"
    mounts = {
        "ours": [f"{state}/build-1/certificates:/run/build-ca:ro,z"],
        "others": [f"{state}-other/build-1/certificates:/run/build-ca:ro,z", "/etc/hosts:/hosts"],
        "plain": None,
    }
    for name, volumes in mounts.items():
        (store / name / "userdata").mkdir(parents=True)
        record = {"CommonBuildOpts": {"Volumes": volumes}}
        (store / name / "userdata" / "buildah.json").write_text(json.dumps(record))
    listed = [{"Id": name, "Command": ["buildah"]} for name in (*mounts, "gone")]
    (tmp_path / "listed.json").write_text(json.dumps([*listed, {"Id": "agent", "Command": ["sh", "-c", "socat"]}]))
    calls = fake_podman(SCRIPT.format(listed=tmp_path / "listed.json", store=store))
    assert remove_working_containers(state) == 1
    assert calls.read_text().splitlines()[-1] == "rm --force ours"


def test_without_working_containers_podman_is_asked_once(tmp_path, fake_podman):
    (tmp_path / "listed.json").write_text("[]")
    calls = fake_podman(SCRIPT.format(listed=tmp_path / "listed.json", store=tmp_path))
    assert remove_working_containers(tmp_path) == 0
    assert len(calls.read_text().splitlines()) == 1
