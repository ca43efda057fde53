from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from millrace.alerts.types import Episode
from millrace.monitoring.refresh import Refreshed
from millrace.monitoring.tables.schemas import MetricTables, verdicts_schema
from millrace.monitoring.tables.verdict_table import verdict_row
from millrace.monitoring.types import WindowVerdict
from millrace.pipeline.stages import watch
from millrace.pipeline.stages.watch import Watch
from millrace.registry.types import ModelName, ModelVersion, Promotion
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW, Fill
from tests.unit.pipeline.shop import DAY, context, declared

PIPELINE = declared()
SPEC = PIPELINE.monitor_spec
PROMOTED = NOW - 60 * DAY


def degraded(start: datetime, **changes: Any) -> WindowVerdict:
    return replace(WindowVerdict("performance", "1", start, start + DAY, "degraded", 0.1, reason="worse"), **changes)


class Watched:
    """A champion whose monitor says what it is told to."""

    def __init__(self, workspace: Workspace, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace, self.fill, self.monkeypatch = workspace, fill, monkeypatch
        name, version = ModelName(PIPELINE.model_name), ModelVersion("1")
        workspace.promotions.append(Promotion(name, version, "production", None, PROMOTED, "user:ada", "why", {}))

    def store(self, *verdicts: WindowVerdict) -> None:
        rows = [verdict_row(SPEC, one) for one in verdicts]
        self.fill(str(MetricTables.of(SPEC).verdicts), pa.Table.from_pylist(rows, schema=verdicts_schema(SPEC)))

    def run(self, *found: WindowVerdict) -> list[Episode]:
        self.monkeypatch.setattr(watch, "_judge", lambda *_: Refreshed(found))
        Watch(NOW, "log").run(context(self.workspace, PIPELINE, NOW))
        return list(self.workspace.episodes.open_now(PIPELINE.name))


@pytest.fixture
def watched(workspace: Workspace, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(workspace, fill, monkeypatch)


def test_windows_whose_labels_come_one_a_run_add_up(watched: Watched) -> None:
    """A refresh says something of the windows that changed, so each run finds one more that is degraded."""
    one, two = degraded(PROMOTED + 10 * DAY), degraded(PROMOTED + 11 * DAY)
    watched.store(one)
    assert watched.run(one) == []
    watched.store(two)
    (episode,) = watched.run(two)
    assert (episode.kind, episode.began_at, episode.last_at) == ("performance", one.end, two.end)
    assert watched.run(two) == [episode]


def test_what_a_run_found_and_died_with_is_heard_by_the_next(watched: Watched) -> None:
    found = degraded(NOW - 40 * DAY, severity="critical", reason="far worse")
    before = degraded(PROMOTED - 9 * DAY, severity="critical")
    watched.store(found, before, replace(found, model_version="2"))
    (episode,) = watched.run()
    assert (episode.reason, episode.began_at) == ("far worse", found.end)


def test_without_a_champion_nothing_is_heard(workspace: Workspace) -> None:
    outcome = Watch(NOW, "log").run(context(workspace, PIPELINE, NOW))
    assert outcome.output["verdicts"] == 0
    assert workspace.episodes.open_now() == []
