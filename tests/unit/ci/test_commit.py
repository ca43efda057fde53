from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from millrace.ci.commit import find_commit, remote_urls, top_folder


def git(folder: Path, *arguments: str) -> str:
    ours = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *ours, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "pipeline.py").write_text("1\n")
    git(tmp_path, "add", "pipeline.py")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def test_outside_of_a_repository_and_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    assert find_commit(tmp_path) is None
    assert top_folder(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert find_commit(tmp_path) is None
    assert top_folder(tmp_path) == tmp_path


def test_without_git_there_is_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert find_commit(repository) is None


def test_a_clean_tree_and_a_changed_one(repository: Path) -> None:
    commit = find_commit(repository)
    assert commit is not None
    assert commit.sha == git(repository, "rev-parse", "HEAD")
    assert (commit.is_clean, commit.branch, str(commit)) == (True, "main", commit.sha[:12])
    (repository / "cache.txt").write_text("not git's business")
    found = find_commit(repository)
    assert found is not None
    assert found.is_clean
    (repository / "pipeline.py").write_text("2\n")
    changed = find_commit(repository)
    assert changed is not None
    assert (changed.changed, str(changed)) == (("pipeline.py",), f"{commit.sha[:12]} and changes")


def test_a_commit_that_no_branch_has_is_one_too(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    commit = find_commit(repository)
    assert commit is not None
    assert commit.branch is None


def test_remotes_with_origin_first(repository: Path) -> None:
    assert remote_urls(repository) == ()
    git(repository, "remote", "add", "mirror", "git@gitlab.com:a/b.git")
    git(repository, "remote", "add", "origin", "https://github.com/a/b")
    assert remote_urls(repository) == ("https://github.com/a/b", "git@gitlab.com:a/b.git")
