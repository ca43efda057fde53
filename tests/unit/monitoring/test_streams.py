"""A year in the life of a monitor: simulated customers who change slowly, and are asked about again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from millrace.core.clock import epoch_us
from millrace.monitoring.counts.count import count_version
from millrace.monitoring.judge import judge
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.windows import Granularity

pytestmark = pytest.mark.slow

START = datetime(2025, 1, 6, tzinfo=UTC)
DAY_US = 86_400_000_000
CUSTOMERS, PER_DAY, FEATURES = 2000, 100, 8
NAMES = [f"f{at}" for at in range(FEATURES)]
REGIONS = np.array(["north", "south", "east", "west", "centre"])
WEIGHTS = np.array([1.0, -0.7, 0.4, 0.0, 0.0, 0.3, 0.0, 0.2])
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Story:
    """What happens: `season` in sd over 52 weeks, a shift of one feature in sd, or labels that stop following the model."""

    days: int = 200
    season: float = 0.0
    change_day: int = 10_000
    shift: float = 0.0
    forgotten: float = 0.0
    reference_weeks: int = 20


class World:
    """Customers with a character of their own and slow changes week by week: rows of neighbouring days are anything but independent."""

    def __init__(self, seed: int, story: Story) -> None:
        self.rng, self.story = np.random.default_rng(seed), story
        self.character = self.rng.normal(size=(CUSTOMERS, FEATURES))
        self.mood = self.rng.normal(size=(CUSTOMERS, FEATURES))
        self.region = self.rng.choice(5, CUSTOMERS, p=[0.4, 0.25, 0.2, 0.1, 0.05])

    def week(self, number: int, shift: float = 0.0) -> Floats:
        self.mood = 0.9 * self.mood + np.sqrt(1 - 0.9**2) * self.rng.normal(size=self.mood.shape)
        features = 0.7 * self.character + 0.7 * self.mood
        features[:, :4] += self.story.season * np.sin(2 * np.pi * number / 52)
        features[:, 0] += shift
        features[:, 2] = np.round(features[:, 2] * 2) / 2
        return features

    def rows(
        self, features: Floats, asked: npt.NDArray[np.int64], times_us: object, forgotten: float = 0.0
    ) -> pa.Table:
        chosen = features[asked]
        logit = chosen @ WEIGHTS - 0.5
        probability, truth = (1 / (1 + np.exp(-one)) for one in (logit, logit * (1 - forgotten)))
        columns: dict[str, object] = {name: chosen[:, at] for at, name in enumerate(NAMES)}
        columns["f7"] = pa.array(chosen[:, 7], mask=self.rng.random(len(asked)) < 0.02)
        return pa.table(
            columns
            | {
                "region": REGIONS[self.region[asked]],
                "timestamp": pa.array(times_us, pa.timestamp("us", "UTC")),
                "prediction": (probability > 0.5).astype(np.float64),
                "probability": probability,
                "actual_label": (self.rng.random(len(asked)) < truth).astype(np.int64),
            }
        )

    def reference(self) -> ReferenceProfile:
        """Weekly snapshots of everybody; the model's answers on the last six, which it was not trained on."""
        weeks, everybody = range(-self.story.reference_weeks, 0), np.arange(CUSTOMERS)
        rows = pa.concat_tables(
            self.rows(self.week(week), everybody, np.full(CUSTOMERS, epoch_us(START + timedelta(weeks=week))))
            for week in weeks
        )
        trained_on = np.arange(rows.num_rows) < rows.num_rows - 6 * CUSTOMERS
        unseen = [
            pa.array(rows[name].to_numpy(), mask=trained_on) for name in ("probability", "actual_label", "prediction")
        ]
        return ReferenceProfile.build(
            rows, unseen[0], unseen[1], [*NAMES, "region"], predictions=unseen[2], timestamps=rows["timestamp"]
        )

    def live(self) -> pa.Table:
        parts, story, features = [], self.story, np.empty(0)
        for day in range(story.days):
            changed = day >= story.change_day
            if day % 7 == 0 or day == story.change_day:
                features = self.week(day // 7, story.shift if changed else 0.0)
            asked = self.rng.choice(CUSTOMERS, PER_DAY, replace=False)
            times = epoch_us(START) + day * DAY_US + np.sort(self.rng.integers(0, DAY_US, PER_DAY))
            parts.append(self.rows(features, asked, times, story.forgotten if changed else 0.0))
        return pa.concat_tables(parts)


def live_through(seed: int, story: Story) -> tuple[Sequence[int], Sequence[int]]:
    """Days on which an alert would be raised (2 of 3 windows bad): by drift, and by performance."""
    world = World(seed, story)
    profile = world.reference()
    spec, rows = MonitorSpec("logs.p", "metrics"), world.live()
    days = Granularity(1, "day").numbers(rows["timestamp"].cast(pa.int64()).to_numpy())
    found = judge(spec, "1", profile, count_version(rows, days, spec, profile))
    drift, performance = ([one for one in found if one.kind == kind] for kind in ("drift", "performance"))
    return alert_days(drift), alert_days(performance)


def alert_days(verdicts: Sequence[WindowVerdict]) -> Sequence[int]:
    bad = {(verdict.start - START).days for verdict in verdicts if verdict.status in {"drift", "degraded"}}
    return [day for day in sorted(bad) if bad & {day - 1, day - 2}]


def test_two_hundred_quiet_days_raise_no_alert_in_nine_of_ten_worlds() -> None:
    raised = [seed for seed in range(10) if any(live_through(seed, Story()))]
    assert len(raised) <= 1, raised


def test_a_season_that_the_reference_has_lived_through_raises_no_drift_alert() -> None:
    story = Story(season=0.3, reference_weeks=52)
    assert [seed for seed in range(5) if live_through(seed, story)[0]] == []


def test_half_a_standard_deviation_in_one_feature_is_found_within_two_weeks() -> None:
    story = Story(days=60, change_day=40, shift=0.5)
    for seed in range(8):
        found = [day for day in live_through(seed, story)[0] if day >= 40]
        assert found, seed
        assert found[0] <= 54, seed


def test_a_model_that_stops_being_right_is_found_by_its_loss_alone() -> None:
    story = Story(days=60, change_day=40, forgotten=0.7)
    for seed in range(5):
        drift, performance = live_through(seed, story)
        assert not drift, seed
        assert [day for day in performance if 40 <= day <= 50], seed
