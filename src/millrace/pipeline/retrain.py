"""When does trouble lead to a retraining? The policy's answer, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, cast

from millrace.alerts.evaluate import resolve
from millrace.alerts.types import AlertRule, Episode
from millrace.core.clock import epoch_us, iso
from millrace.core.errors import InvalidInput
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.labels import read_known
from millrace.pipeline.port import Services
from millrace.pipeline.split import find_windows
from millrace.registry.types import ModelName, Promotion


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says now.

    Attributes:
        state: `calm` (no episode), `waiting` (not yet), `due` (retrain now).
        reason: a sentence with the figures that decided.
        episode: the open episode; None where calm.
        labels: how many labels of predictions since the episode began can be trained on; None where not counted.
    """

    state: Literal["calm", "waiting", "due"]
    reason: str
    episode: Episode | None = None
    labels: int | None = None


def decide(services: Services, pipeline: Pipeline, as_of: datetime) -> Decision:
    """Whether the pipeline's policy asks for a retraining at a time. Changes nothing."""
    policy = pipeline.retrain
    champion = in_production(services, pipeline)
    if policy is None or champion is None:
        return Decision("calm", "no retraining policy" if policy is None else "nothing in production yet")
    episode = services.episodes.current(pipeline.name, subject(pipeline, champion.version))
    if episode is None:
        return Decision("calm", f"no open episode for v{champion.version}")
    if not set(policy.on) & set(cast("list[str]", episode.data.get("kinds", []))):
        return Decision(
            "waiting", f"an episode is open, of a kind that the policy does not retrain on: {episode.reason}", episode
        )
    if as_of < champion.at + policy.cooldown:
        reason = f"v{champion.version} was promoted {iso(champion.at)}; the cooldown lasts until {iso(champion.at + policy.cooldown)}"
        return Decision("waiting", reason, episode)
    return _by_labels(services, pipeline, as_of, episode)


def alert_rule(pipeline: Pipeline) -> AlertRule:
    """The pipeline's alerts as a rule, under the pipeline's name."""
    alert = pipeline.alerts
    return AlertRule(
        name=pipeline.name,
        kinds=tuple(alert.on),
        breaches=alert.breaches,
        out_of=alert.out_of,
        resolve_after=alert.resolve_after,
        repeat_after=alert.repeat_after,
        channels=tuple(alert.channels),
    )


def close_episode(services: Services, pipeline: Pipeline, replaced: str, by: str) -> None:
    """End the open episode of a version that has been replaced: its trouble is over."""
    rule = alert_rule(pipeline)
    episode = services.episodes.current(rule.name, subject(pipeline, replaced))
    if episode is not None:
        why = f"v{by} has replaced v{replaced}"
        resolve(services.episodes, services.events, services.clock, rule, episode, why=why)


def close_left_behind(services: Services, pipeline: Pipeline) -> None:
    """End the open episodes of versions that are no longer served: rolled back, or replaced by a run that was killed right then."""
    champion, rule = in_production(services, pipeline), alert_rule(pipeline)
    if champion is None:
        return
    for episode in services.episodes.list(rule.name):
        if episode.status == "open" and episode.subject != subject(pipeline, champion.version):
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


def _by_labels(services: Services, pipeline: Pipeline, as_of: datetime, episode: Episode) -> Decision:
    policy = pipeline.retrain
    needed = policy.min_new_labels if policy else 0
    if not services.lake.exists(pipeline.labels.name):  # a pipeline that was just given another label table
        return Decision("waiting", f"there is no table {pipeline.labels.name} yet", episode)
    try:
        train_to = _train_to(services, pipeline, as_of)
    except InvalidInput as error:
        return Decision("waiting", error.message, episode)
    count = _new_labels(services, pipeline, episode.began_at, train_to)
    reason = (
        f"{count:,} of {needed:,} labels of predictions made since {episode.began_at:%Y-%m-%d} are known early enough "
        f"to train on (training ends {train_to:%Y-%m-%d}, before the holdout)"
    )
    return Decision("due" if count >= needed else "waiting", reason, episode, count)


def _train_to(services: Services, pipeline: Pipeline, as_of: datetime) -> datetime:
    label = pipeline.labels
    known = read_known(services, label, services.lake.pin(label.name), as_of)
    return find_windows(known.column(label.time), label, pipeline.split, as_of).train_to


def _new_labels(services: Services, pipeline: Pipeline, since: datetime, until: datetime) -> int:
    import pyarrow.compute as pc

    table = pipeline.predictions_table
    if not services.lake.exists(table) or until <= since:
        return 0
    rows = services.lake.read(table, columns=["timestamp", "actual_label"])
    us = rows.column("timestamp").cast("int64")
    mask = pc.and_(pc.greater(us, epoch_us(since)), pc.less_equal(us, epoch_us(until)))
    return int(pc.sum(pc.and_(mask, pc.is_valid(rows.column("actual_label")))).as_py() or 0)
