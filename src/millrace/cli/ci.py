"""`millrace ci`: a pipeline for a CI system, and its stages, which run here as they run there."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from millrace.cli.ci_options import ApproveAs, ProjectPlace, Reason, Reports, TargetName, consent_of
from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say
from millrace.core.errors import AlreadyExists

if TYPE_CHECKING:
    from millrace.ci.approval import Consent
    from millrace.ci.stages.scene import Scene
    from millrace.ci.types import Project, Stage, StageResult, Target
    from millrace.pipeline.declare import Pipeline
    from millrace.pipeline.port import Progress
    from millrace.workspace import Workspace

app = App(name="ci", help="A pipeline for a CI system, and its stages, which run here as they run there.")


@app.command
def init(
    *,
    provider: Annotated[
        str | None,
        Parameter(name="--provider", help="azure-devops, github or gitlab; by what the repository has, by default."),
    ] = None,
    branch: Annotated[
        str | None,
        Parameter(name="--branch", help="The branch that is trained from and deployed; the current one by default."),
    ] = None,
    force: Annotated[
        bool, Parameter(name="--force", negative="", help="Replace a file that says something else.")
    ] = False,
    project: ProjectPlace = None,
    json: Json = False,
) -> int:
    """Write the pipeline file of a CI system, with the stages test, train, validate and deploy. Doing it again changes nothing."""
    from millrace.ci.init import write_pipeline
    from millrace.ci.project import find_project
    from millrace.ci.providers.layout import detect_provider, provider_named

    found = find_project(project)
    chosen = provider_named(provider) if provider else detect_provider(found.folder)
    done = write_pipeline(found, chosen, branch=branch, force=force)
    if json:
        print_json({"provider": chosen.name, **asdict(done)})
        return 1 if done.outcome == "kept" else 0
    if done.diff:
        sys.stdout.write(done.diff)
    if done.outcome == "kept":
        raise AlreadyExists(f"{done.file} says something else", hint="--force replaces it by what is above")
    say(f"{done.outcome} {done.file} for {chosen.name}")
    for remark in done.remarks:
        say(f"  {remark}")
    return 0


@app.command
def run(
    stage: Annotated[str, Parameter(help="test, train, validate or deploy.")],
    *,
    target: TargetName = None,
    file: Annotated[Path | None, Parameter(name="--file", help="Only the pipeline of this file.")] = None,
    model_version: Annotated[
        str | None,
        Parameter(name="--model-version", help="This version instead of the one that was trained from this commit."),
    ] = None,
    approve_as: ApproveAs = None,
    reason: Reason = None,
    reports: Reports = None,
    project: ProjectPlace = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Run a stage: the project's tests, a training, its verdict, or its deployment. Doing it again does nothing twice."""
    from millrace.ci.homes import with_home
    from millrace.ci.project import choose_target, find_project
    from millrace.ci.run import report_stage, stage_named
    from millrace.cli.ci_results import print_result

    named = stage_named(stage)
    found = with_home(find_project(project), home)
    last = found.targets[-1].name
    chosen = choose_target(found, target, last if named == "deploy" else found.train)
    folder = (reports or found.reports).absolute()
    asked = Asked(named, chosen, file, model_version, consent_of(approve_as, reason, json=json), plain=json)
    result = report_stage(
        found,
        named,
        chosen.name,
        lambda: _stage(found, asked, folder / "test.xml"),
        folder=folder,
        stream=sys.stderr if json else None,
    )
    print_result(result, folder, json=json)
    return result.exit_code


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asked for."""

    stage: Stage
    target: Target
    file: Path | None
    version: str | None
    consent: Consent
    plain: bool


def _stage(project: Project, asked: Asked, results: Path) -> StageResult:
    if asked.stage == "test":
        from millrace.ci.stages.test import run_tests

        return run_tests(project, asked.target, results, aside=asked.plain)
    from millrace.ci.project import pipeline_of
    from millrace.ci.run import together
    from millrace.cli.progress import progress

    alone = asked.file is not None or len(project.pipelines) == 1
    files = [pipeline_of(project, asked.file)] if alone else list(project.pipelines)
    with progress(plain=asked.plain) as shown_to:
        return together([stage_of(project, asked, file, shown_to) for file in files])


def stage_of(project: Project, asked: Asked, file: Path, progress: Progress) -> StageResult:
    """A stage of one pipeline."""
    from millrace.ci.homes import home_of, is_same_home, opened
    from millrace.ci.project import target_named
    from millrace.ci.stages import deploy, train, validate
    from millrace.cli.pages import load_page
    from millrace.workspace import remember_pipeline

    stage, target = asked.stage, asked.target
    source = target_named(project, project.train) if stage == "deploy" else target
    pipeline = load_page(file, None, home_of(source))
    with opened(source, make=stage == "train") as workspace:
        scene = scene_of(project, source, workspace, pipeline, progress)
        if stage == "train":
            remember_pipeline(workspace, pipeline.name, file)
            return train.train(scene)
        if stage == "validate":
            return validate.validate(scene, asked.version)
        if is_same_home(source, target):
            return deploy.deploy(scene, target, asked.consent, asked.version)
        return _to_elsewhere(scene, asked)


def _to_elsewhere(scene: Scene, asked: Asked) -> StageResult:
    """Deployment to another home or to a server: the version is promoted."""
    from millrace.ci.promotion.destinations import open_destination
    from millrace.ci.promotion.promote import promote_version
    from millrace.ci.stages.deploy import refusal

    release = scene.release(asked.version)
    refused = refusal(scene, asked.target, release)
    if refused is not None:
        return refused
    entry, source = release.entry, scene.workspace
    with open_destination(scene.target, asked.target, source, entry) as destination:
        return promote_version(source, entry, scene.target, asked.target, destination, consent=asked.consent)


def scene_of(project: Project, target: Target, workspace: Workspace, pipeline: Pipeline, progress: Progress) -> Scene:
    """A pipeline in a home, for the stages that work there."""
    from millrace.ci.commit import find_commit
    from millrace.ci.stages.scene import Scene
    from millrace.workspace import open_target

    commit = find_commit(project.folder)
    return Scene(target, workspace, pipeline, commit, lambda: open_target(workspace), progress)
