from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_agentcap.sandbox.patch import Baseline, Patch, PatchLimits, make_patch


@pytest.fixture
def began(tmp_path: Path) -> Path:
    folder = tmp_path / "began"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.py").write_text("one\ntwo\nthree\n")
    (folder / "same").write_text("same\n")
    (folder / "gone").write_text("gone\n")
    (folder / "link").symlink_to("src/a.py")
    return folder


@pytest.fixture
def ended(tmp_path: Path, began: Path) -> Path:
    """A copy as copies out of sandboxes are: links are files that hold their target."""
    folder = tmp_path / "ended"
    shutil.copytree(began, folder, symlinks=True)
    (folder / "link").unlink()
    (folder / "link").write_text("src/a.py")
    return folder


def changes(patch: Patch) -> list[str]:
    return [line.split(" b/")[1] for line in patch.data.decode(errors="replace").splitlines() if line[:5] == "diff "]


def apply(patch: Patch, folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "apply", "-"], cwd=folder, input=patch.data, check=True)
    shutil.rmtree(folder / ".git")


def test_an_unchanged_workspace_is_an_empty_patch(began: Path, ended: Path) -> None:
    assert make_patch(Baseline.of(began, {}), ended, ()) == Patch(b"", (), ())


def test_the_patch_makes_of_the_original_what_the_session_left(began: Path, ended: Path) -> None:
    (ended / "src" / "a.py").write_text("one\n2\nthree\n")
    (ended / "src" / "a.py").chmod(0o755)
    (ended / "gone").unlink()
    (ended / "data").write_bytes(bytes(range(256)) * 20)
    (ended / 'odd "näme"\n').write_text("no newline at the end")
    (ended / "new").mkdir()
    (ended / "new" / "deep").write_text("")
    patch = make_patch(Baseline.of(began, {}), ended, ())
    assert patch.files == 5
    assert b"GIT binary patch" in patch.data
    assert b"old mode 100644\nnew mode 100755" in patch.data
    apply(patch, began)
    (began / "link").unlink()
    (ended / "link").unlink()
    assert subprocess.run(["diff", "-r", str(began), str(ended)], capture_output=True).stdout == b""
    assert os.access(began / "src" / "a.py", os.X_OK)


def test_what_was_put_in_beside_the_original_is_no_change(began: Path, ended: Path) -> None:
    (ended / "AGENTS.md").write_text("/opt/agentcap/skills/agents/AGENTS.md")
    (ended / "mine").write_text("changed")
    added = {"AGENTS.md": b"/opt/agentcap/skills/agents/AGENTS.md", "mine": b"as it was"}
    assert changes(make_patch(Baseline.of(began, added), ended, ())) == ["mine"]


def test_nothing_that_the_agent_planted_is_run_or_has_a_say(began: Path, ended: Path, tmp_path: Path) -> None:
    pwned = tmp_path / "pwned"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {pwned}\n")
    script.chmod(0o755)
    for place in (ended, ended / "nested", ended / "src"):
        subprocess.run(["git", "init", "-q", str(place)], check=True)
        (place / ".git" / "config").write_text(
            f'[core]\n fsmonitor = {script}\n hooksPath = {tmp_path}\n[diff "evil"]\n command = {script}\n'
            f' textconv = {script}\n[filter "evil"]\n clean = {script}\n smudge = {script}\n'
            f"[diff]\n external = {script}\n"
        )
        (place / ".gitattributes").write_text("* diff=evil filter=evil -text\nhidden export-ignore -diff\n")
        (place / ".gitignore").write_text("*\n")
    (ended / "hidden").write_text("seen all the same\n")
    patch = make_patch(Baseline.of(began, {}), ended, ())
    assert not pwned.exists()
    assert not any(".git/" in name for name in changes(patch))
    assert b"+seen all the same" in patch.data


def test_the_users_own_settings_have_no_say(
    began: Path, ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[diff]\n noprefix = true\n external = false\n[core]\n autocrlf = input\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    (ended / "same").write_bytes(b"crlf\r\n")
    assert (
        b"--- a/same\n+++ b/same\n@@ -1 +1 @@\n-same\n+crlf\r\n" in make_patch(Baseline.of(began, {}), ended, ()).data
    )


def test_what_is_too_large_is_left_out_and_named_and_the_first_to_go_is_new_and_deep(began: Path, ended: Path) -> None:
    (ended / "src" / "a.py").write_text("changed\n")
    (ended / "huge").write_bytes(bytes(2000))
    for number in range(5):
        (ended / "node_modules" / f"{number}").mkdir(parents=True)
        (ended / "node_modules" / f"{number}" / "index.js").write_bytes(b"x" * 400)
    (ended / "zzz").write_text("near the top\n")
    patch = make_patch(Baseline.of(began, {}), ended, (), PatchLimits(file_bytes=1000, total_bytes=900))
    assert changes(patch) == ["node_modules/0/index.js", "node_modules/1/index.js", "src/a.py", "zzz"]
    assert patch.files == 8
    assert patch.notes == ("the patch is without 'huge' and 3 more: it would be too large",)


def test_of_a_copy_that_is_not_whole_nothing_is_taken_for_deleted(began: Path, ended: Path) -> None:
    (ended / "gone").unlink()
    (ended / "same").write_text("changed\n")
    cut = ["more than 3 entries: the rest is left out"]
    patch = make_patch(Baseline.of(began, {}), ended, cut)
    assert changes(patch) == ["same"]
    assert patch.notes == ("the patch tells of no deleted files: the copy of the workspace is not whole",)
    pack = ["'.git/objects/pack/pack-0a.pack' is left out: with its 9 bytes the copy would exceed 5"]
    assert changes(make_patch(Baseline.of(began, {}), ended, pack)) == ["gone", "same"]
    pipe = ["'pipe' is no regular file but a device or a FIFO", "'s' is no regular file but a socket"]
    assert changes(make_patch(Baseline.of(began, {}), ended, pipe)) == ["gone", "same"]
    faked = ['"x\' is no regular file but a FIFO" is nested deeper than 64 folders']
    assert changes(make_patch(Baseline.of(began, {}), ended, faked)) == ["same"]


def test_an_original_that_others_change_meanwhile_is_told(began: Path, ended: Path) -> None:
    baseline = Baseline.of(began, {})
    (began / "same").write_text("by somebody else\n")
    patch = make_patch(baseline, ended, ())
    assert changes(patch) == ["same"]
    assert "changed during the session" in patch.notes[0]
