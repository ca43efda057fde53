"""What the retraining policy looks at, read from the workspace; and the alert rule that it goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from millrace.alerts.evaluate import resolve
from millrace.alerts.types import AlertRule
from millrace.core.clock import epoch_us, parse_time
from millrace.core.errors import InvalidInput, NotFound
from millrace.monitoring.tables.verdict_table import read_verdicts
from millrace.monitoring.types import WindowVerdict
from millrace.monitoring.windows import Granularity
from millrace.pipeline import policy
from millrace.pipeline.attempts import attempts
from millrace.pipeline.champion import TRAINED_TO
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.heard import troubles, windows
from millrace.pipeline.labels import read_known
from millrace.pipeline.policy import Decision, Labels, Situation
from millrace.pipeline.port import Services
from millrace.pipeline.split import find_windows
from millrace.registry.types import ModelName, Promotion

if TYPE_CHECKING:
    import pyarrow as pa


def decide(services: Services, pipeline: Pipeline, as_of: datetime) -> Decision:
    """Whether the pipeline's policy asks for a retraining at a time. Changes nothing."""
    found = Situation(as_of) if pipeline.retrain is None else situation(services, pipeline, as_of)
    return policy.decide(pipeline.retrain, found)


def situation(services: Services, pipeline: Pipeline, as_of: datetime) -> Situation:
    """What the policy looks at, as the workspace has it."""
    champion = in_production(services, pipeline)
    if champion is None:
        return Situation(as_of)
    episodes = services.episodes.open_now(pipeline.name, subject(pipeline, champion.version))
    return Situation(
        now=as_of,
        champion=str(champion.version),
        champion_at=champion.at,
        trained_to=_trained_to(services, champion),
        episodes=troubles(episodes),
        windows=windows(champion_verdicts(services, pipeline, champion)) if episodes else {},
        attempts=attempts(services, pipeline, champion),
        answered=partial(_answered, services, pipeline, as_of),
        trainable=partial(_trainable, services, pipeline, as_of),
    )


def alert_rule(pipeline: Pipeline) -> AlertRule:
    """The pipeline's alerts as a rule, under the pipeline's name."""
    return pipeline.alerts.rule(pipeline.name)


def close_episode(services: Services, pipeline: Pipeline, replaced: str, by: str) -> None:
    """End the open episodes of a version that has been replaced: its trouble is over."""
    rule = alert_rule(pipeline)
    for episode in services.episodes.open_now(rule.name, subject(pipeline, replaced)):
        why = f"v{by} has replaced v{replaced}"
        resolve(services.episodes, services.events, services.clock, rule, episode, why=why)


def close_left_behind(services: Services, pipeline: Pipeline) -> None:
    """End the open episodes of versions that are no longer served: rolled back, or replaced by a run that was killed right then."""
    champion, rule = in_production(services, pipeline), alert_rule(pipeline)
    if champion is None:
        return
    for episode in services.episodes.open_now(rule.name):
        if episode.subject != subject(pipeline, champion.version):
            why = f"v{champion.version} is in production instead"
            resolve(services.episodes, services.events, services.clock, rule, episode, why=why)


def subject(pipeline: Pipeline, version: str) -> str:
    """What an episode is about: an endpoint serving a version. Another version starts with a clean slate."""
    return f"{pipeline.endpoint} v{version}"


def in_production(services: Services, pipeline: Pipeline) -> Promotion | None:
    """The newest promotion to production; None before the first. After a rollback, with the verdict that its version once got."""
    moves = _to_production(services, pipeline)
    if not moves:
        return None
    judged = next((move for move in reversed(moves) if move.version == moves[-1].version and move.verdict), moves[-1])
    return replace(moves[-1], verdict=judged.verdict)


def newest_trained(services: Services, pipeline: Pipeline) -> Promotion | None:
    """The newest promotion of a version that had just been trained, whether or not it was rolled back since."""
    return next((move for move in reversed(_to_production(services, pipeline)) if move.verdict), None)


def _to_production(services: Services, pipeline: Pipeline) -> Sequence[Promotion]:
    log = services.promotions.read(ModelName(pipeline.model_name))
    return [promotion for promotion in log if promotion.alias == "production"]


def champion_verdicts(services: Services, pipeline: Pipeline, champion: Promotion) -> Sequence[WindowVerdict]:
    """All that the monitor has said of the champion since its promotion, oldest window first."""
    spec = pipeline.monitor_spec
    granularity, now = Granularity.parse(spec.granularity), services.clock.now()
    since = granularity.start(granularity.number(champion.at))
    return read_verdicts(services.lake, spec, since=since, until=now, model_version=str(champion.version))


def _trained_to(services: Services, champion: Promotion) -> datetime | None:
    try:
        tags = services.registry.version(champion.model, champion.version).tags
    except NotFound:  # promoted by somebody who keeps its models elsewhere, or deleted since
        return None
    return parse_time(tags[TRAINED_TO]) if TRAINED_TO in tags else None


def _answered(services: Services, pipeline: Pipeline, as_of: datetime, since: datetime) -> Labels:
    """Labels of predictions made since a time, that can be trained on."""
    import pyarrow.compute as pc

    until = _train_to(services, pipeline, as_of)
    table = pipeline.predictions_table
    if isinstance(until, Labels):
        return until
    if not services.lake.exists(table) or until <= since:
        return Labels(0, until)
    rows = services.lake.read(table, columns=["timestamp", "actual_label"])
    rows = rows.filter(pc.is_valid(rows.column("actual_label")))
    return Labels(_count(rows.column("timestamp"), since, until), until)


def _trainable(services: Services, pipeline: Pipeline, as_of: datetime, since: datetime) -> Labels:
    """All labels since a time, that can be trained on."""
    until, label = _train_to(services, pipeline, as_of), pipeline.labels
    if isinstance(until, Labels):
        return until
    known = read_known(services, label, services.lake.pin(label.name), as_of)
    return Labels(_count(known.column(label.time), since, until), until)


def _train_to(services: Services, pipeline: Pipeline, as_of: datetime) -> datetime | Labels:
    """Where training would end, before the holdout; what is lacking where that can't be told."""
    label = pipeline.labels
    if not services.lake.exists(label.name):  # a pipeline that was just given another label table
        return Labels(lacking=f"there is no table {label.name} yet")
    try:
        known = read_known(services, label, services.lake.pin(label.name), as_of)
        return find_windows(known.column(label.time), label, pipeline.split, as_of).train_to
    except InvalidInput as error:
        return Labels(lacking=error.message)


def _count(times: pa.ChunkedArray, since: datetime, until: datetime) -> int:
    """How many times are in `(since, until]`."""
    import pyarrow.compute as pc

    us = times.cast("int64")
    return int(pc.sum(pc.and_(pc.greater(us, epoch_us(since)), pc.less_equal(us, epoch_us(until)))).as_py() or 0)
