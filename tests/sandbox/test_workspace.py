from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.reaper import Owner, OwnerState
from pytest_agentcap.sandbox.workspace import Repository, prepare_workspace

Git = Callable[..., str]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnerState:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Owner.claim(tmp_path)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return tmp_path / "origin"


@pytest.fixture
def git(origin: Path) -> Git:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")

    def run(*arguments: str, at: Path = origin) -> str:
        done = subprocess.run(["git", *identity, *arguments], cwd=at, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    origin.mkdir()
    run("init", "-q", "-b", "main")
    for number in (1, 2, 3):
        (origin / "a.txt").write_text(f"{number}\n")
        run("add", "-A")
        run("commit", "-q", "-m", f"commit {number}")
        run("tag", f"v{number}")
    return run


def test_a_folder_is_taken_as_it_is(tmp_path: Path, state: OwnerState) -> None:
    (tmp_path / "odd@name").mkdir()
    workspace = prepare_workspace("odd@name", state, tmp_path)
    assert (workspace.folder, workspace.commit) == (tmp_path / "odd@name", None)


def test_runs_in_a_folder_are_left_out_and_what_they_become_too(
    tmp_path: Path, state: OwnerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    (project / "sub" / "a.txt").write_text("a")
    (project / "sub" / "link").symlink_to("a.txt")
    os.mkfifo(project / "pipe")
    (project / "sub" / ".agentcap").mkdir()
    monkeypatch.chdir(project / "sub")
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)

    workspace = prepare_workspace("project", state, tmp_path)
    (project / "later.txt").touch()

    assert workspace.source == "project"
    assert sorted(path.name for path in workspace.folder.rglob("*")) == ["a.txt", "link", "sub"]
    assert (workspace.folder / "sub" / "link").is_symlink()
    assert prepare_workspace("project", state, tmp_path) == workspace


@pytest.mark.parametrize("spelling", ["origin", "./origin", "file://{}/origin"])
def test_a_tag_is_checked_out_with_its_history_and_no_more(
    tmp_path: Path, state: OwnerState, git: Git, spelling: str
) -> None:
    workspace = prepare_workspace(f"{spelling.format(tmp_path)}@v2", state, tmp_path)
    assert workspace.commit == git("rev-parse", "v2")
    assert (workspace.folder / "a.txt").read_text() == "2\n"
    assert git("log", "--all", "--format=%s", at=workspace.folder).split("\n") == ["commit 2", "commit 1"]
    assert git("status", "--porcelain", at=workspace.folder) == ""
    assert git("rev-parse", "HEAD", at=workspace.folder) == workspace.commit


def test_a_branch_keeps_its_name_and_commits_are_found_by_hash_long_or_short(
    tmp_path: Path, state: OwnerState, git: Git
) -> None:
    branch = prepare_workspace("origin@main", state, tmp_path)
    assert git("branch", "--show-current", at=branch.folder) == "main"
    first = git("rev-parse", "v1")
    for ref in (first, first[:9]):
        workspace = prepare_workspace(f"origin@{ref}", state, tmp_path)
        assert workspace.commit == first
        assert (workspace.folder / "a.txt").read_text() == "1\n"


def test_the_original_is_untouched_and_this_machine_is_not_named(
    tmp_path: Path, state: OwnerState, git: Git, origin: Path
) -> None:
    def look() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(origin.rglob("*")) if path.is_file()}

    before = look()
    workspace = prepare_workspace("origin@main", state, tmp_path)
    assert look() == before
    texts = b"".join(path.read_bytes() for path in workspace.folder.rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in texts


def test_all_sessions_start_from_one_commit_and_a_known_commit_needs_no_repository(
    tmp_path: Path, state: OwnerState, git: Git, origin: Path
) -> None:
    first = prepare_workspace("origin@main", state, tmp_path)
    (origin / "a.txt").write_text("4\n")
    git("commit", "-q", "-a", "-m", "commit 4")
    assert prepare_workspace("origin@main", state, tmp_path) == first
    (origin / ".git").rename(tmp_path / "moved")
    later = OwnerState(state.id, tmp_path / "later")
    later.folder.mkdir()
    assert prepare_workspace(f"origin@{first.commit}", later, tmp_path).commit == first.commit
    with pytest.raises(SandboxError, match=r"^--workspace .*origin@v1: git fetch failed: "):
        prepare_workspace("origin@v1", later, tmp_path)


def test_no_hook_template_filter_or_setting_is_run(
    tmp_path: Path, state: OwnerState, git: Git, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwned = tmp_path / "pwned"
    evil = tmp_path / "templates" / "hooks" / "post-checkout"
    evil.parent.mkdir(parents=True)
    evil.write_text(f"#!/bin/sh\ntouch {pwned}\n")
    evil.chmod(0o755)
    settings = f"[core]\n hooksPath = {evil.parent}\n[init]\n templateDir = {tmp_path}/templates\n"
    (tmp_path / ".gitconfig").write_text(f'{settings}[filter "x"]\n smudge = {evil}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    (origin / ".gitattributes").write_text("* filter=x\n")
    git("add", "-A")
    git("-c", "core.hooksPath=/dev/null", "-c", "filter.x.clean=cat", "commit", "-q", "-m", "attributes")
    pwned.unlink(missing_ok=True)
    workspace = prepare_workspace("origin@main", state, tmp_path)
    assert not pwned.exists()
    assert not list(workspace.folder.glob(".git/hooks/*"))


@pytest.mark.parametrize("place", ["HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_COUNT"])
def test_repositories_are_reached_as_the_users_own_git_reaches_them(
    tmp_path: Path, state: OwnerState, git: Git, origin: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    mirror = f'[url "file://{origin.parent}/"]\n insteadOf = https://code.example/owner/\n'
    (tmp_path / ".gitconfig").write_text(f"{mirror}[core]\n autocrlf = true\n")
    given = {
        "HOME": {"HOME": str(tmp_path)},
        "GIT_CONFIG_GLOBAL": {"GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig")},
        "GIT_CONFIG_COUNT": {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{origin.parent}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://code.example/owner/",
        },
    }
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    for name, value in given[place].items():
        monkeypatch.setenv(name, value)
    workspace = prepare_workspace("https://code.example/owner/origin@v3", state, tmp_path)
    assert workspace.commit == git("rev-parse", "v3")
    # What is checked out is the same on every machine.
    assert (workspace.folder / "a.txt").read_bytes() == b"3\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere", "there is no such folder; a git repository is given as URL@REF"),
        ("nowhere@main", "there is neither a folder nor a repository nowhere"),
        ("git@example.com:a/b", "there is no such folder"),
        ("https://example.com/a.git@--upload-pack=x", "there is no such folder"),
        ("ext::sh -c x@main", "there is neither a folder nor a repository"),
        ("origin@nothing", "origin@nothing: 'nothing' is no branch, tag or commit of it"),
    ],
)
def test_what_names_no_workspace_is_one_line(tmp_path: Path, state: OwnerState, git: Git, text: str, said: str) -> None:
    with pytest.raises(SandboxError, match=f"^--workspace [^\n]*{said}[^\n]*$"):
        prepare_workspace(text, state, tmp_path)


def test_urls_are_told_without_their_password() -> None:
    repository = Repository.parse("https://me:s3cret@example.com/a/b.git@v1.0/x", Path("/"))
    assert (repository.ref, repository.public) == ("v1.0/x", "https://example.com/a/b.git")
    assert Repository.parse("git@example.com:a/b@main", Path("/")).location == "git@example.com:a/b"
