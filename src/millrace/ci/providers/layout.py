"""Which CI system a repository uses, and what goes into its file."""

from __future__ import annotations

import re
from pathlib import Path

from millrace.ci.commit import find_commit, remote_urls, top_folder
from millrace.ci.providers.azure import AZURE
from millrace.ci.providers.github import GITHUB
from millrace.ci.providers.gitlab import GITLAB
from millrace.ci.providers.types import Layout, Provider
from millrace.ci.types import Project, Target
from millrace.core.errors import InvalidInput, UsageError
from millrace.core.names import did_you_mean

PROVIDERS = (AZURE, GITHUB, GITLAB)


def provider_named(name: str) -> Provider:
    """The provider of that name. Raises UsageError where there is none."""
    for provider in PROVIDERS:
        if provider.name == name:
            return provider
    raise UsageError(f"there is no provider '{name}'", hint=did_you_mean(name, [each.name for each in PROVIDERS]))


def detect_provider(folder: Path) -> Provider:
    """By what the repository has already, else by where it comes from.

    Raises:
        UsageError: neither says it, or they say several.
    """
    top = top_folder(folder) or folder
    found = [each for each in PROVIDERS if any((top / sign).exists() for sign in each.signs)]
    if not found:
        urls = remote_urls(folder)
        found = [each for each in PROVIDERS if any(host in url for url in urls[:1] for host in each.hosts)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.name for each in PROVIDERS)
    told = (
        f"{top} has files of {' and '.join(each.name for each in found)}"
        if found
        else f"nothing in {top} tells its CI system"
    )
    raise UsageError(told, hint=f"say --provider: one of {names}")


def layout_of(project: Project, branch: str | None = None) -> Layout:
    """What the file says of this project.

    Raises:
        InvalidInput: the reports would be outside of the project.
        UsageError: the branch has a name that would have to be quoted everywhere.
    """
    top = top_folder(project.folder) or project.folder
    if not project.reports.is_relative_to(project.folder):
        raise InvalidInput(
            f"the reports are outside of the project: {project.reports}", hint="say ci.reports as a folder in it"
        )
    folder = project.folder.resolve().relative_to(top.resolve()).as_posix()
    commit = find_commit(project.folder)
    branch = branch or (commit.branch if commit else None) or "main"
    if not re.fullmatch(r"[A-Za-z0-9._/-]+", branch):
        raise UsageError(f"'{branch}' is not a branch to deploy from", hint="use letters, digits, and . _ / -")
    return Layout(project, folder, branch, _deploys(project))


def file_of(project: Project, provider: Provider) -> Path:
    """Where the provider looks for its file."""
    return (top_folder(project.folder) or project.folder) / provider.path


def _deploys(project: Project) -> tuple[Target, ...]:
    """All targets after the one that trains; where it is the last, that one."""
    names = [target.name for target in project.targets]
    return project.targets[names.index(project.train) + 1 :] or project.targets[-1:]
