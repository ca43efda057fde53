"""A training in three acts, as a CI pipeline takes them: train and register, judge, deploy. Each is done once.

`millrace run` does all of it in one run. Here each act may be in a process of its own, days apart, with an approval between: what ties
them together are tags of the version, which name the training's group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from millrace.core.errors import InvalidState, LawBroken
from millrace.jobs.types import StageRun
from millrace.pipeline.attempts import PRODUCTION, REGISTER, STAGING, VALIDATE
from millrace.pipeline.context import OpenTarget, Pins
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.definition import definition
from millrace.pipeline.execute import RunReport, run_plan
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.plan import Plan, Request, Step, Training, last_due, refresh_stages, stages_of, steps_of
from millrace.pipeline.policy import Decision
from millrace.pipeline.port import Progress, Services
from millrace.pipeline.stages.deploy import Register
from millrace.pipeline.stages.stage import Stage
from millrace.registry.types import ModelName, ModelVersion, VersionEntry

GROUP, DEFINITION, WHY = "millrace.release", "millrace.definition", "millrace.release.why"  # version tags
_DECISION = Decision("calm", "not asked about")


@dataclass(frozen=True, slots=True)
class Release:
    """A version that was trained to be judged and deployed later.

    Attributes:
        group: the fingerprint of its training.
        definition: of the pipeline that it was trained by.
        why: for the promotion log.
    """

    entry: VersionEntry
    group: str
    definition: str
    why: str


def train_release(
    services: Services, pipeline: Pipeline, progress: Progress, tags: Mapping[str, str]
) -> tuple[RunReport, Release]:
    """Refresh, train all candidates and register the best one, unjudged and without an alias.

    The same definition over the same data gives the same version, so that running it again at once does nothing.

    Args:
        services: the home.
        pipeline: what to train.
        progress: is told how far it is.
        tags: go onto the version, also where it was there already.

    Raises:
        Conflict, MillraceError: as `run_pipeline`.
    """
    due = last_due(pipeline, services.clock.now())
    refresh = refresh_stages(services, pipeline, Request(), due)
    described = definition(pipeline, services.functions)
    group = fingerprint("release", described, [stage.fingerprint for stage, _ in refresh])
    why = f"released by CI, as of {due:%Y-%m-%d %H:%M}"
    ours = {GROUP: group, DEFINITION: described, WHY: why}
    training = [
        pair
        for pair in stages_of(pipeline, group, described, why)
        if pair[0].name not in {VALIDATE, STAGING, PRODUCTION}
    ]
    stages = [(_tagged(stage, {**ours, **tags}), because) for stage, because in training]
    report = run_plan(services, pipeline, _plan(services, pipeline, why, [*refresh, *stages]), _no_target, progress)
    entry = _registered(services, pipeline, group)
    missing = {name: value for name, value in tags.items() if entry.tags.get(name) != value}
    if missing:
        services.registry.tag(entry.model, entry.version, missing)
    return report, _release(services.registry.version(entry.model, entry.version))


def judge_release(services: Services, pipeline: Pipeline, release: Release, progress: Progress) -> StageRun:
    """What the gates say of a release: asked once, kept for good."""
    _run(services, pipeline, release, _no_target, progress, upto=VALIDATE)
    return _done(services, pipeline, VALIDATE, release.group)


def stage_release(
    services: Services, pipeline: Pipeline, release: Release, target: OpenTarget, progress: Progress
) -> RunReport:
    """Put a release that has passed its gates onto the staging endpoint, and ask that. Nothing where it stands there."""
    return _run(services, pipeline, release, target, progress, upto=STAGING)


def deploy_release(
    services: Services, pipeline: Pipeline, release: Release, target: OpenTarget, progress: Progress
) -> RunReport:
    """Put it onto the production endpoint, at once or by a canary, and move the alias. Nothing where it stands there.

    Who names a release wants it served: also after a rollback, which a mere run of the pipeline leaves as it is.
    """
    return _run(services, pipeline, release, target, progress, upto=PRODUCTION)


def releases(services: Services, model: ModelName) -> list[Release]:
    """All releases of a model, oldest first."""
    return [_release(entry) for entry in services.registry.versions(model) if GROUP in entry.tags]


def verdict_stage(services: Services, pipeline: str, group: str) -> StageRun | None:
    """What the gates have said of a release; None before they were asked."""
    return services.runs.done(pipeline, VALIDATE, fingerprint(VALIDATE, group))


def _run(
    services: Services, pipeline: Pipeline, release: Release, target: OpenTarget, progress: Progress, *, upto: str
) -> RunReport:
    stages = stages_of(pipeline, release.group, release.definition, release.why)
    # Registered before it is judged: the verdict is about the version.
    order = {REGISTER: 1, VALIDATE: 2, STAGING: 3, PRODUCTION: 4}
    stages = sorted(stages, key=lambda pair: order.get(pair[0].name, 0))
    names = [stage.name for stage, _ in stages]
    plan = _plan(services, pipeline, release.why, stages[: names.index(upto) + 1])
    steps = tuple(as_it_stands(services, pipeline, release, step, target) for step in plan.steps)
    return run_plan(services, pipeline, replace(plan, steps=steps), target, progress)


def as_it_stands(services: Services, pipeline: Pipeline, release: Release, step: Step, target: OpenTarget) -> Step:
    """A deployment that was done is done no more where something else has taken its place since, or its endpoint does not answer."""
    endpoints = {STAGING: pipeline.staging_endpoint, PRODUCTION: pipeline.endpoint}
    endpoint = endpoints.get(step.stage.name)
    if endpoint is None or step.done is None or step.done.status != "done":
        return step
    version, alias = release.entry.version, step.stage.name
    named = services.registry.by_alias(release.entry.model, alias)
    if named is None or named.version != version:
        return _anew(step, f"{alias} is not v{version}" if named is None else f"{alias} is v{named.version}")
    with target() as opened:
        status = opened.status(endpoint)
    if status is None or status.version != str(version) or status.state == "updating" or not status.ready:
        return _anew(step, f"{endpoint} does not serve v{version}")
    return step


def _anew(step: Step, why: str) -> Step:
    return replace(step, needed=True, why=why, done=None)


def _plan(services: Services, pipeline: Pipeline, why: str, stages: list[tuple[Stage, str]]) -> Plan:
    due = last_due(pipeline, services.clock.now())
    return Plan(pipeline.name, due, Pins(due), Training(None, why), _DECISION, steps_of(services, pipeline, stages))


def _tagged(stage: Stage, tags: Mapping[str, str]) -> Stage:
    return Register(stage.group, tags) if isinstance(stage, Register) else stage


def _registered(services: Services, pipeline: Pipeline, group: str) -> VersionEntry:
    made = _done(services, pipeline, REGISTER, group)
    return services.registry.version(ModelName(pipeline.model_name), ModelVersion(str(made.output["version"])))


def _done(services: Services, pipeline: Pipeline, stage: str, group: str) -> StageRun:
    done = services.runs.done(pipeline.name, stage, fingerprint(stage, group))
    if done is None:
        raise InvalidState(f"{pipeline.name}: {stage} has not come to its end", hint="run the stage again")
    return done


def _release(entry: VersionEntry) -> Release:
    return Release(entry, entry.tags[GROUP], entry.tags[DEFINITION], entry.tags[WHY])


def _no_target() -> NoReturn:
    raise LawBroken("training and judging need no server", hint="please report this")
