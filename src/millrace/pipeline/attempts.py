"""The retrainings that the policy has begun, as the stages' records tell them: the same after a crash anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from millrace.core.clock import iso, parse_time
from millrace.jobs.types import StageRun
from millrace.pipeline.context import RunContext
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.definition import definition
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.policy import Attempt, Trigger
from millrace.pipeline.port import Services
from millrace.pipeline.training_parts import STAGE as TRAINING_SET
from millrace.registry.types import Promotion

VALIDATE, REGISTER, STAGING, PRODUCTION = "validate", "register", "staging", "production"  # names of stages
_JUDGES = (VALIDATE, STAGING, PRODUCTION)
_RETRAINING, _GROUP, _DEFINITION, _WHY = "retraining", "group", "definition", "why"


def attempts(services: Services, pipeline: Pipeline, champion: Promotion) -> list[Attempt]:
    """All that got as far as a training set, oldest first. One that something else has overtaken counts as refused."""
    begun = ((run, trigger_in(run.output)) for run in services.runs.history(pipeline.name, TRAINING_SET))
    return [_attempt(services, pipeline, champion, run, trigger) for run, trigger in begun if trigger is not None]


def recorded(trigger: Trigger | None, group: str, described: str, why: str) -> dict[str, object]:
    """What the stage `training set` keeps, so that its retraining is known as one; empty where the policy did not ask for it."""
    if trigger is None:
        return {}
    tick = None if trigger.tick is None else iso(trigger.tick)
    kept = {"episode": trigger.episode, "tick": tick, "attempt": trigger.attempt}
    return {_RETRAINING: kept, _GROUP: group, _DEFINITION: described, _WHY: why}


def trigger_in(output: Mapping[str, object]) -> Trigger | None:
    """What a training was made for, as `recorded` wrote it; None where the policy did not ask for it."""
    kept = cast("Mapping[str, object] | None", output.get(_RETRAINING))
    if not kept:
        return None
    tick = None if kept["tick"] is None else parse_time(str(kept["tick"]))
    return Trigger(cast("int | None", kept["episode"]), tick, int(str(kept["attempt"])))


def retraining_tag(context: RunContext) -> dict[str, str]:
    """The tag by which people find the runs and the version of a retraining: `millrace.retraining = episode 7`."""
    trigger = trigger_in(context.outputs[TRAINING_SET])
    return {} if trigger is None else {"millrace.retraining": str(trigger)}


def reasons(output: Mapping[str, object]) -> list[str]:
    """Why a verdict that `validate` kept refused; empty where it passed."""
    results = cast("list[Mapping[str, object]]", output["results"])
    return [str(result["reason"]) for result in results if not result["passed"]]


def why_refused(refused: StageRun) -> tuple[str, ...]:
    """The reasons of a stage that refused."""
    if refused.stage == VALIDATE:
        return tuple(reasons(refused.output))
    return (str(refused.output.get("reason") or f"{refused.stage} was refused"),)


def _attempt(services: Services, pipeline: Pipeline, champion: Promotion, begun: StageRun, trigger: Trigger) -> Attempt:
    outcome, reason = _outcome(services, pipeline, champion, begun)
    train_to = parse_time(str(begun.output["train_to"]))
    return Attempt(trigger, begun.started_at, outcome, train_to, reason, str(begun.output[_WHY]))


def _outcome(
    services: Services, pipeline: Pipeline, champion: Promotion, begun: StageRun
) -> tuple[Literal["under_way", "promoted", "refused"], str]:
    group = str(begun.output[_GROUP])
    for stage in _JUDGES:
        ended = services.runs.done(pipeline.name, stage, fingerprint(stage, group))
        if ended is not None and ended.status == "refused":
            return "refused", "; ".join(why_refused(ended))
        if ended is not None and stage == PRODUCTION:
            return "promoted", ""
    overtaken = _overtaken(services, pipeline, champion, begun)
    return ("refused", overtaken) if overtaken else ("under_way", "")


def _overtaken(services: Services, pipeline: Pipeline, champion: Promotion, begun: StageRun) -> str:
    """What came between, so that it does not go on; empty where nothing did."""
    if begun.output[_DEFINITION] != definition(pipeline, services.functions):
        return "the pipeline was changed before it was done"
    made = services.runs.done(pipeline.name, REGISTER, fingerprint(REGISTER, str(begun.output[_GROUP])))
    is_its_own = made is not None and made.output["version"] == champion.version
    if champion.at > begun.started_at and not is_its_own:
        return f"v{champion.version} was put into production before it was done"
    return ""
