"""What the stages that work in a home are given, and how they find the version that was trained from this commit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.ci.commit import Commit
from millrace.ci.types import Target
from millrace.core.clock import iso
from millrace.core.errors import InvalidState, NotFound
from millrace.core.names import did_you_mean
from millrace.pipeline.context import OpenTarget
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.definition import definition
from millrace.pipeline.port import Progress
from millrace.pipeline.release import DEFINITION, Release, releases
from millrace.registry.types import ModelName
from millrace.serving.canary.documents import settings_document
from millrace.workspace import Workspace

DEPLOYMENT_TAG = "millrace.deployment"  # of a version: its endpoints and where their traffic goes, as JSON
_COMMIT, _CHANGED = (
    "millrace.commit.",
    "millrace.changed_commit.",
)  # version tags, and a commit's id: when it was trained from it


@dataclass(frozen=True)
class Scene:
    """A pipeline in a target's home.

    Attributes:
        commit: what the project's files are of; None without git.
        open_server: opens the home's server, starting one where none runs.
    """

    target: Target
    workspace: Workspace
    pipeline: Pipeline
    commit: Commit | None
    open_server: OpenTarget
    progress: Progress

    @property
    def model(self) -> ModelName:
        """The registered model."""
        return ModelName(self.pipeline.model_name)

    @property
    def trained_from(self) -> str:
        """For sentences: `commit 1a2b3c4d5e6f`."""
        return "these files" if self.commit is None else f"commit {self.commit}"

    def tags(self) -> Mapping[str, str]:
        """What a version gets that is trained now."""
        deployment = {DEPLOYMENT_TAG: json.dumps(_deployment(self.pipeline))}
        if self.commit is None:
            return deployment
        kind = _COMMIT if self.commit.is_clean else _CHANGED
        known = [each for each in releases(self.workspace, self.model) if kind + self.commit.sha in each.entry.tags]
        newest = known[-1].entry.tags[kind + self.commit.sha] if known else iso(self.workspace.clock.now())
        return {**deployment, kind + self.commit.sha: newest}

    def release(self, version: str | None = None) -> Release:
        """The version of that number, else the newest that was trained from this commit, or from this very definition where there is no commit to go by.

        Raises:
            NotFound: there is no such version.
            InvalidState: nothing was trained from this commit.
        """
        known = releases(self.workspace, self.model)
        if version is not None:
            return _numbered(known, self.model, version)
        for release in reversed(known):
            if self._is_of_this(release):
                return release
        raise InvalidState(
            f"no version of {self.model} was trained from {self.trained_from} in target {self.target.name}",
            hint=f"run `millrace ci run train --target {self.target.name}` first",
            model=self.model,
        )

    def _is_of_this(self, release: Release) -> bool:
        if self.commit is not None and self.commit.is_clean:
            return _COMMIT + self.commit.sha in release.entry.tags
        return release.entry.tags[DEFINITION] == definition(self.pipeline, self.workspace.functions)


def commit_of(tags: Mapping[str, str]) -> str | None:
    """The newest commit that a version was trained from, as its tags tell; None where it was trained outside of git, or from changed files."""
    found = [(at, name.removeprefix(_COMMIT)) for name, at in tags.items() if name.startswith(_COMMIT)]
    return max(found)[1] if found else None


def _deployment(pipeline: Pipeline) -> dict[str, object]:
    table, rollout = pipeline.predictions_table, pipeline.rollout
    return {
        "endpoint": pipeline.endpoint,
        "staging": pipeline.staging_endpoint,
        "capture": [table.catalog, table.schema, pipeline.prefix],
        "canary": None if rollout is None else settings_document(rollout.settings),
    }


def _numbered(known: list[Release], model: ModelName, version: str) -> Release:
    for release in known:
        if str(release.entry.version) == version.removeprefix("v"):
            return release
    numbers = [str(release.entry.version) for release in known]
    raise NotFound(f"{model} has no version {version} that CI trained", hint=did_you_mean(version, numbers))
