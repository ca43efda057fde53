"""Which commit the project's files are of. Git is optional: without it, or outside of a repository, there is none."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit.

    Attributes:
        sha: its full id.
        changed: files that git keeps and that differ from it, as paths in the repository; files that git does not know don't count.
        branch: the branch that is checked out; None where it is no branch, as in most CI systems.
    """

    sha: str
    changed: tuple[str, ...] = ()
    branch: str | None = None

    @property
    def is_clean(self) -> bool:
        """Whether the commit says what the files are."""
        return not self.changed

    def __str__(self) -> str:
        """The start of its id, and whether files differ: `1a2b3c4d5e6f and changes`."""
        return self.sha[:12] + ("" if self.is_clean else " and changes")


def find_commit(folder: Path) -> Commit | None:
    """The commit that is checked out; None where there is no git, no repository, or no commit yet."""
    sha = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not sha:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".") or ""
    branch = _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    return Commit(sha.strip(), tuple(line[3:] for line in changed.splitlines()), (branch or "").strip() or None)


def remote_urls(folder: Path) -> tuple[str, ...]:
    """The addresses of the repository's remotes, `origin` first; empty where there are none."""
    listed = _git(folder, "config", "--get-regexp", r"^remote\..*\.url$") or ""
    pairs = [line.split(maxsplit=1) for line in listed.splitlines()]
    pairs.sort(key=lambda pair: pair[0] != "remote.origin.url")
    return tuple(pair[1] for pair in pairs if len(pair) > 1)


def top_folder(folder: Path) -> Path | None:
    """The repository's own folder; None outside of one."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    return Path(top.strip()) if top else None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - git, with arguments of our own
            ["git", *arguments],  # noqa: S607 - the one on the path
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
