"""A plan is data: the stages that would run for a due time, and why. Making one changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from millrace.core.clock import iso
from millrace.core.errors import NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.jobs.types import StageRun
from millrace.lake.types import TableVersion
from millrace.pipeline.admit import admit
from millrace.pipeline.attempts import PRODUCTION, recorded
from millrace.pipeline.changes import identities
from millrace.pipeline.context import Pins
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.definition import computed_tables, definition
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.grid import last_tick
from millrace.pipeline.policy import Decision, Trigger
from millrace.pipeline.port import Services
from millrace.pipeline.retrain import decide, in_production, newest_trained
from millrace.pipeline.snapshots import pin_sources
from millrace.pipeline.stages.deploy import DeployStaging, Promote, Register
from millrace.pipeline.stages.judge import Validate
from millrace.pipeline.stages.publish import Publish
from millrace.pipeline.stages.refresh import RefreshSnapshots
from millrace.pipeline.stages.stage import Stage
from millrace.pipeline.stages.train import BuildTrainingSet, Train
from millrace.pipeline.stages.watch import JoinLabels, Watch

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks of a pipeline.

    Attributes:
        as_of: read everything as of this time; None: as of the last tick before now.
        versions: table versions to read instead of the newest.
        retrain: train even where nothing asks for it.
        parts: `refresh` (features, labels, online store), `train` (up to production), `watch` (labels, monitor, alerts).
        tables: of what is refreshed only these; empty: all.
    """

    as_of: datetime | None = None
    versions: Mapping[TableName, int] = field(default_factory=dict)
    retrain: bool = False
    parts: frozenset[str] = frozenset({"refresh", "train", "watch"})
    tables: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """A stage in a plan. `done` is the earlier run of it that makes running it again needless."""

    stage: Stage
    needed: bool
    why: str
    done: StageRun | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """Whether this plan trains.

    Attributes:
        key: tells one training from another; None where it does not train.
        under_way: the waiting stage of the training that a canary decides about; it goes on whatever else has changed.
        trigger: what the retraining policy asks for it for; None where it is not the policy that asks.
    """

    key: str | None
    why: str
    under_way: StageRun | None = None
    trigger: Trigger | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        due: the tick that the plan is made for.
        decision: what the retraining policy says.
    """

    pipeline: str
    due: datetime
    pins: Pins
    training: Training
    decision: Decision
    steps: tuple[Step, ...]

    @property
    def needed(self) -> tuple[Step, ...]:
        """The steps that would run."""
        return tuple(step for step in self.steps if step.needed)

    @property
    def refused(self) -> StageRun | None:
        """An earlier refusal that stands: the gates said no to just this training."""
        return next((step.done for step in self.steps if step.done and step.done.status == "refused"), None)


_NOT_ASKED = (Decision("calm", "not asked about"), Training(None, "not asked for"))


def build_plan(services: Services, pipeline: Pipeline, request: Request | None = None) -> Plan:
    """The plan for now, or for the time asked for.

    Raises:
        NotFound: a source is missing, or a version is pinned of a table that the pipeline does not read.
        InvalidInput: a source lacks its columns, or the time asked for has not come.
    """
    request, now = request or Request(), services.clock.now()
    admit(pipeline, now, request.as_of, request.versions)
    due = request.as_of or last_due(pipeline, now)
    pins = Pins(due, request.versions)
    refresh = refresh_stages(services, pipeline, request, due) if request.parts & {"refresh", "train"} else []
    decision, training = _NOT_ASKED
    if "train" in request.parts:
        decision = decide(services, pipeline, due)
        training = _training(services, pipeline, request, due, decision)
    stages = _asked_for(pipeline, request, refresh) if "refresh" in request.parts else []
    if training.key is not None:
        stages += _training_stages(services, pipeline, training, refresh)
    if "watch" in request.parts and pipeline.monitor is not None and services.lake.exists(pipeline.predictions_table):
        stages += _watch_stages(services, pipeline)
    return Plan(pipeline.name, due, pins, training, decision, steps_of(services, pipeline, stages))


def last_due(pipeline: Pipeline, now: datetime) -> datetime:
    """The newest tick at or before a time, of all tables that the pipeline computes; of the day where it computes none.

    Each table ticks from its own start, so that a snapshot is due as soon as its time has come.
    """
    ticks = (last_tick(now, table.every, table.start) for table in computed_tables(pipeline))
    return max(ticks, default=last_tick(now, _DAY))


def refresh_stages(services: Services, pipeline: Pipeline, request: Request, due: datetime) -> list[tuple[Stage, str]]:
    """The stages that bring features, labels and the online store up to date, each with what it is for."""
    stages: list[tuple[Stage, str]] = []
    for table in computed_tables(pipeline):
        pinned = pin_sources(services, table, request.as_of, request.versions)
        stage = RefreshSnapshots(
            table, due, pinned, aside=_is_pinned(request), identities=_identities(services, pinned)
        )
        stages.append((stage, f"snapshots up to {stage.last:%Y-%m-%d}"))
    features = {stage.table.name: stage.fingerprint for stage, _ in stages if isinstance(stage, RefreshSnapshots)}
    for name in dict.fromkeys(lookup.table_name for lookup in pipeline.all_lookups):
        after = features.get(name) or _as_it_is(services, name)
        stages.append((Publish(name, after), "lookups inside requests"))
    return stages


def _asked_for(pipeline: Pipeline, request: Request, stages: Sequence[tuple[Stage, str]]) -> list[tuple[Stage, str]]:
    """Of the stages that refresh, those for the tables that were asked for."""
    if not request.tables:
        return list(stages)
    known = {TableName.parse(table.name) for table in computed_tables(pipeline)}
    known |= {TableName.parse(lookup.table_name) for lookup in pipeline.all_lookups}
    asked = {TableName.parse(name) for name in request.tables}
    for name in sorted(asked - known, key=str):
        raise NotFound(f"pipeline {pipeline.name} has no table '{name}'", hint=did_you_mean(str(name), map(str, known)))
    of = [
        (stage.table.name if isinstance(stage, RefreshSnapshots) else stage.table, (stage, why))
        for stage, why in stages
        if isinstance(stage, RefreshSnapshots | Publish)
    ]
    return [pair for table, pair in of if TableName.parse(table) in asked]


def _identities(services: Services, pinned: Mapping[str, TableVersion]) -> Mapping[str, str]:
    return identities(services, [str(pin.name) for pin in pinned.values()])


def _as_it_is(services: Services, name: str) -> str:
    """What another content of a table differs in: its newest version, and which table it is; empty where there is none."""
    if not services.lake.exists(name):
        return ""
    return f"{services.lake.pin(name)} {identities(services, [name])}"


def _is_pinned(request: Request) -> bool:
    return request.as_of is not None or bool(request.versions)


def _training(services: Services, pipeline: Pipeline, request: Request, due: datetime, decision: Decision) -> Training:
    if _is_pinned(request):
        return Training(
            f"pinned {iso(due)} {sorted(map(str, request.versions.items()))}", f"asked for, as of {iso(due)}"
        )
    if request.retrain:
        return Training(f"asked {iso(due)}", "asked for")
    waiting = services.runs.latest(pipeline.name, PRODUCTION)
    if waiting is not None and waiting.status == "waiting":
        why = f"v{waiting.output['version']} is taking over {pipeline.endpoint}"
        return Training(str(waiting.output["group"]), why, waiting)
    return _called_for(services, pipeline, due, decision)


def _called_for(services: Services, pipeline: Pipeline, due: datetime, decision: Decision) -> Training:
    """Whether the state of things calls for a training that nobody has asked for."""
    champion = in_production(services, pipeline)
    if champion is None:
        return Training(f"first {iso(due)}", "nothing is in production")
    # Beside the champion's own: who rolled a version back does not want it made again.
    newest = newest_trained(services, pipeline) or champion
    if definition(pipeline, services.functions) not in {
        champion.verdict.get("definition"),
        newest.verdict.get("definition"),
    }:
        return Training(
            f"definition of v{newest.version}", f"the pipeline differs from the one that made v{newest.version}"
        )
    if decision.state == "due" and decision.trigger is not None:
        return Training(str(decision.trigger), decision.began or decision.reason, trigger=decision.trigger)
    state = "retraining waits" if decision.state == "waiting" else "no retraining is asked for"
    return Training(None, f"production serves v{champion.version}; {state}: {decision.reason}")


def _training_stages(
    services: Services, pipeline: Pipeline, training: Training, refresh: Sequence[tuple[Stage, str]]
) -> list[tuple[Stage, str]]:
    if training.under_way is not None:
        return _under_way(services, pipeline, training.under_way)
    described = definition(pipeline, services.functions)
    # A first or asked-for training is made again when the data behind it changed; a retraining happens once per episode or tick.
    data = [] if training.trigger is not None else [stage.fingerprint for stage, _ in refresh]
    group = fingerprint(training.key, described, data)
    kept = recorded(training.trigger, group, described, training.why)
    return stages_of(pipeline, group, described, training.why, kept)


def stages_of(
    pipeline: Pipeline, group: str, described: str, why: str, kept: Mapping[str, object] | None = None
) -> list[tuple[Stage, str]]:
    """The stages of one training, each with what it is for: `group` is the fingerprint of it all."""
    return [
        (BuildTrainingSet(group, kept or {}), why),
        *((Train(candidate, group), why) for candidate in pipeline.candidates),
        (Validate(group), why),
        (Register(group), "the best candidate, where it passes its gates"),
        (DeployStaging(group, described), pipeline.staging_endpoint),
        (Promote(group, described, why), pipeline.endpoint),
    ]


def _under_way(services: Services, pipeline: Pipeline, waiting: StageRun) -> list[tuple[Stage, str]]:
    """The stages that led to a canary, all done, and the one that waits for it; a candidate that is new since waits too."""
    group, described, why = (str(waiting.output[name]) for name in ("group", "definition", "why"))
    stages = stages_of(pipeline, group, described, why)
    return [
        (stage, why)
        for stage, why in stages
        if isinstance(stage, Promote) or services.runs.done(pipeline.name, stage.name, stage.fingerprint)
    ]


def _watch_stages(services: Services, pipeline: Pipeline) -> list[tuple[Stage, str]]:
    today = last_tick(services.clock.now(), _DAY)
    log = services.lake.rows(pipeline.predictions_table)
    labels = _as_it_is(services, pipeline.labels.name)
    return [
        (JoinLabels(today, fingerprint(log, labels)), "late labels"),
        (Watch(today, fingerprint(log, labels, pipeline.monitor, pipeline.alerts)), f"windows up to {today:%Y-%m-%d}"),
    ]


def steps_of(services: Services, pipeline: Pipeline, stages: Sequence[tuple[Stage, str]]) -> tuple[Step, ...]:
    """Which of the stages have to run."""
    steps: list[Step] = []
    stopped, anew = False, set[TableName]()
    for stage, why in stages:
        done = services.runs.done(pipeline.name, stage.name, stage.fingerprint)
        if isinstance(stage, RefreshSnapshots) and (done is None or not stage.stands(services)):
            done = None
            anew.add(TableName.parse(stage.table.name))
        if isinstance(stage, Publish) and done is not None:
            done = done if TableName.parse(stage.table) not in anew and stage.stands(services) else None
        if isinstance(stage, Promote) and stage.is_under_way(services, pipeline.name):
            done = None
        steps.append(_step(stage, why, done, stopped=stopped and _belongs_to_training(stage)))
        stopped = stopped or (done is not None and done.status == "refused")
    return tuple(steps)


def _step(stage: Stage, why: str, done: StageRun | None, *, stopped: bool) -> Step:
    if stopped:
        return Step(stage, needed=False, why="the gates refused", done=done)
    if done is not None:
        return Step(
            stage,
            needed=False,
            why=f"{done.status} {iso(done.ended_at or done.started_at)}, unchanged since",
            done=done,
        )
    return Step(stage, needed=True, why=why)


def _belongs_to_training(stage: Stage) -> bool:
    return isinstance(stage, Register | DeployStaging | Promote)


def is_watching(stage: Stage) -> bool:
    """Whether it looks at what was served, which a refused training does not change."""
    return isinstance(stage, JoinLabels | Watch)
