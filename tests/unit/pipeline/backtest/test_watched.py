from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.clock import epoch_us
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.pipeline.backtest.trained import Trained
from millrace.pipeline.backtest.types import Model, Scene
from millrace.pipeline.backtest.watched import Known, watch
from tests.unit.pipeline.backtest.scenes import KNOWN_AFTER, START, WEEK, at, declared

WEEKS, ROWS = 30, 120
PIPELINE = declared()


@dataclass(frozen=True)
class _Trained(Trained):
    """A model whose scores and reference were made up."""

    made: tuple[Any, Any] = (None, None)

    @property
    def scores(self) -> Any:
        return self.made[0]

    @property
    def reference(self) -> Any:
        return self.made[1]


@lru_cache(maxsize=1)
def _reference() -> ReferenceProfile:
    """Ten weeks before the start: labels come true as the scores say, and these are the column x."""
    rng = np.random.default_rng(1)
    x = rng.uniform(0.05, 0.95, 10 * ROWS)
    times = np.repeat([epoch_us(START - week * WEEK) for week in range(10, 0, -1)], ROWS)
    return ReferenceProfile.build(
        pa.table({"x": x}),
        pa.array(x),
        pa.array((rng.random(len(x)) < x).astype(np.int64)),
        predictions=pa.array((x > 0.5).astype(float)),
        timestamps=pa.array(times).cast(pa.timestamp("us", "UTC")),
    )


def _scene(seed: int, *, until: int | None = None, concept: int = WEEKS, shift: int = WEEKS) -> tuple[Scene, _Trained]:
    """From the week `shift` on x is higher; from `concept` on labels are chance; those of `until` and later come from another seed."""
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    week = np.repeat(np.arange(WEEKS), ROWS)
    scores = np.clip(rng.uniform(0.05, 0.95, len(week)) + np.where(week >= shift, 0.3, 0.0), 0.05, 0.95)
    chance = np.where(week >= concept, 0.5, scores)
    labels = (rng.random(len(week)) < chance).astype(np.float64)
    if until is not None:
        labels = np.where(
            week < until, labels, np.where(other.random(len(week)) < 0.3, np.nan, other.integers(0, 2, len(week)))
        )
    times = np.array([epoch_us(at(int(each))) for each in week], dtype=np.int64)
    made = Scene(times, labels, np.tile(np.arange(ROWS), WEEKS), pa.table({"x": scores}))
    return made, _Trained(Model(START, "linear"), Path(), (scores, _reference()))


def seen(**kind: Any) -> list[Known]:
    return list(watch(PIPELINE, *_scene(3, **kind), at(WEEKS)))


@pytest.mark.parametrize("day", [6, 12, 20])
def test_no_verdict_knows_labels_of_later(day: int) -> None:
    """The law: labels that were not known at a time change nothing that was said by then."""
    weeks_known = day - KNOWN_AFTER // WEEK + 1
    one, other = (
        [each for each in seen(until=until, concept=4) if each.at <= at(day)]
        for until in (weeks_known, weeks_known + 5)
    )
    assert one == other
    assert {each.verdict.kind for each in one} >= {"drift", "estimate", "performance"}


def test_a_verdict_on_labels_comes_when_the_last_of_them_are_known() -> None:
    late = [each.at - each.verdict.end for each in seen() if each.verdict.kind == "performance"]
    assert set(late) == {KNOWN_AFTER}
    rest = [each.at - each.verdict.end for each in seen() if each.verdict.kind != "performance"]
    assert set(rest) == {timedelta(0)}


def test_the_estimate_is_not_believed_once_the_labels_of_a_changed_concept_are_known() -> None:
    statuses = {each.at: each.verdict for each in seen(concept=4) if each.verdict.kind == "estimate"}
    assert statuses[at(4)].status == "ok"
    distrusted = min(when for when, one in statuses.items() if one.status == "insufficient_data")
    assert distrusted > at(4) + KNOWN_AFTER
    assert "can't be trusted" in statuses[distrusted].reason


def test_what_moved_is_drift_and_before_it_nothing_is() -> None:
    drift = [each for each in seen(shift=15) if each.verdict.kind == "drift"]
    assert all(each.verdict.status in {"ok", "insufficient_data", "explained"} for each in drift if each.at <= at(15))
    assert [each.verdict.status for each in drift if at(16) <= each.at <= at(25)] == ["drift"] * 10


def test_how_many_ask_is_made_up_and_is_not_judged() -> None:
    assert "volume" not in {each.verdict.kind for each in seen()}


def test_requests_before_the_promotion_are_not_the_models() -> None:
    scene, trained = _scene(3)
    later = _Trained(Model(at(10), "linear"), Path(), trained.made)
    assert min(each.verdict.start for each in watch(PIPELINE, scene, later, at(WEEKS))) == at(10)
