"""`millrace validate`: what the gates say, with an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.ci_options import Junit, Markdown, ProjectPlace, TargetName
from millrace.cli.options import Home, Json
from millrace.core.errors import InvalidState, NotFound, UsageError

if TYPE_CHECKING:
    from millrace.ci.types import Project, StageResult, Target
    from millrace.registry.types import VersionEntry
    from millrace.workspace import Workspace


def validate(
    what: Annotated[
        str | None,
        Parameter(help="A pipeline's file, a model, MODEL@ALIAS or MODEL/VERSION; the project's pipeline by default."),
    ] = None,
    version: Annotated[str | None, Parameter(help="The number of the version, where a model is named.")] = None,
    *,
    target: TargetName = None,
    junit: Junit = None,
    markdown: Markdown = None,
    project: ProjectPlace = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """What the gates say of a version: of a pipeline, the one that was trained from this commit. Exit code 0 passed, 3 refused."""
    from millrace.ci.homes import opened, with_home
    from millrace.ci.project import choose_target, find_project
    from millrace.cli.ci_results import print_result, told_in_files

    found = with_home(find_project(project), home)
    chosen = choose_target(found, target, found.train)

    def judged() -> StageResult:
        if what is None or what.endswith(".py") or Path(what).is_file():
            return _of_pipeline(found, chosen, Path(what) if what else None, version, plain=json)
        with opened(chosen) as workspace:
            return _of_version(workspace, found, chosen, what, version)

    result = told_in_files("validate", chosen.name, judged, junit, markdown)
    print_result(result, None, json=json)
    return result.exit_code


def _of_pipeline(
    project: Project, target: Target, file: Path | None, version: str | None, *, plain: bool
) -> StageResult:
    from millrace.ci.approval import Consent
    from millrace.ci.project import pipeline_of
    from millrace.cli.ci import Asked, stage_of
    from millrace.cli.progress import progress

    asked = Asked("validate", target, file, version, Consent(), plain=plain)
    with progress(plain=plain) as shown_to:
        return stage_of(project, asked, pipeline_of(project, file), shown_to)


def _of_version(workspace: Workspace, project: Project, target: Target, what: str, version: str | None) -> StageResult:
    from millrace.ci.promotion.pack import verdict_of
    from millrace.ci.promotion.promote import find_version
    from millrace.ci.stages.validate import verdict_result

    if version is not None and ("@" in what or "/" in what):
        raise UsageError(
            f"'{what}' names a version, and so does '{version}'", hint="write MODEL VERSION or MODEL/VERSION"
        )
    entry = find_version(workspace, f"{what}/{version}" if version else what)
    facts = {"model": entry.model, "version": str(entry.version)}
    named = f"{entry.model} v{entry.version}"
    kept = verdict_of(workspace, entry)
    if kept.get("results") is not None:
        return verdict_result(target.name, named, kept, facts)
    return _judged_now(workspace, project, target, entry)


def _judged_now(workspace: Workspace, project: Project, target: Target, entry: VersionEntry) -> StageResult:
    """The gates of the pipeline that trained a version, where this home knows its file."""
    from millrace.ci.stages.validate import validate as judge
    from millrace.cli.ci import scene_of
    from millrace.pipeline.context import Quiet
    from millrace.pipeline.load import load_pipeline
    from millrace.pipeline.release import GROUP

    name = entry.tags.get("millrace.pipeline", "")
    pages = workspace.home_settings.get("pipelines")
    page = pages.get(name) if isinstance(pages, dict) else None
    if GROUP not in entry.tags or page is None:
        raise InvalidState(
            f"{entry.model} v{entry.version} has no verdict, and no training in this home that could be judged",
            hint="train it with `millrace run` or `millrace ci run train`",
        )
    try:
        pipeline = load_pipeline(str(page), name)
    except NotFound as error:
        raise InvalidState(
            f"the pipeline {name} is gone: {error.message}", hint="name its file: `millrace validate FILE`"
        ) from error
    return judge(scene_of(project, target, workspace, pipeline, Quiet()), str(entry.version))
