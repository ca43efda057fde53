"""Lookups that give a training row what was not known at its time; histories that say so; a scratch home that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.features.tables import create_feature_table
from millrace.features.types import FeatureLookup
from millrace.pipeline.audit.findings import Finding
from millrace.pipeline.audit.history import judge_histories
from millrace.pipeline.audit.job import Job, Thresholds
from millrace.pipeline.audit.rules import find_rules
from millrace.pipeline.audit.scratch import change_tables, copy_facts, copy_tables
from millrace.pipeline.audit.times import choose_times
from millrace.pipeline.audit.training import audit_training_set
from millrace.pipeline.declare import Label, Pipeline
from millrace.training.candidates import Dummy, Linear
from millrace.validation.thresholds import AtLeast
from millrace.workspace import Workspace, open_workspace

US = pa.timestamp("us", "UTC")
T0, DAY = datetime(2025, 3, 3, tzinfo=UTC), timedelta(days=1)
KEYS, DAYS = 6, 20


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path / "home")
    opened.clock.set(T0 - DAY)
    _make(
        opened,
        "ml.features.daily",
        "day",
        [(key, T0 + n * DAY, key * n % 7) for n in range(DAYS) for key in range(KEYS)],
    )
    _make(opened, "ml.features.fixed", None, [(key, T0, key % 3) for key in range(KEYS)])
    opened.clock.set(T0 + DAYS * DAY)
    rows = [(key, T0 + n * DAY, (key + n) % 2) for n in range(DAYS) for key in range(KEYS)]
    labels = _table(rows, "at", "bought")
    opened.lake.ensure("ml.labels.bought", labels.schema)
    opened.lake.append("ml.labels.bought", labels)
    yield opened
    opened.close()


def _table(rows: list[tuple[int, datetime, int]], time: str, value: str) -> pa.Table:
    keys, times, values = zip(*rows, strict=True)
    return pa.table({"id": pa.array(keys, pa.int64()), time: pa.array(times, US), value: pa.array(values, pa.int64())})


def _make(workspace: Workspace, name: str, time: str | None, rows: list[tuple[int, datetime, int]]) -> None:
    table = _table(rows, time or "unused", name.rpartition(".")[2])
    table = table if time else table.drop_columns(["unused"])
    create_feature_table(workspace.lake, name, table.schema, primary_keys="id", timeseries_column=time)
    workspace.lake.append(name, table)


def _pipeline(*lookups: FeatureLookup, known_after: timedelta = DAY) -> Pipeline:
    label = Label("ml.labels.bought", "bought", ("id",), "at", known_after)
    return Pipeline("shop", label, [Linear(), Dummy()], [AtLeast(roc_auc=0.5)], lookups=lookups)


def _audited(workspace: Workspace, pipeline: Pipeline) -> dict[str, list[Finding]]:
    job = Job(Path("page.py"), "shop", "", trains=True, thresholds=Thresholds(min_rows=20))
    found = audit_training_set(workspace, pipeline, job, {})
    return {severity: [one for one in found if one.severity == severity] for severity in ("leak", "warning", "ok")}


def test_lookups_at_the_label_time_are_blind_to_the_future(workspace: Workspace) -> None:
    found = _audited(workspace, _pipeline(FeatureLookup("ml.features.daily", "id", timestamp_lookup_key="at")))
    assert found["leak"] == []
    assert [(one.check, "120 training rows" in one.fact) for one in found["ok"] if one.check == "lookups"] == [
        ("lookups", True)
    ]


def test_a_lookup_without_a_time_gets_the_newest_values(workspace: Workspace) -> None:
    (leak,) = _audited(workspace, _pipeline(FeatureLookup("ml.features.daily", "id")))["leak"]
    assert (leak.check, leak.subject, leak.column) == ("lookups", "ml.features.daily", "daily")
    assert leak.hint == "give the lookup timestamp_lookup_key='at'"


def test_a_table_without_time_gives_values_of_today(workspace: Workspace) -> None:
    daily = FeatureLookup("ml.features.daily", "id", timestamp_lookup_key="at")
    found = _audited(workspace, _pipeline(daily, FeatureLookup("ml.features.fixed", "id")))
    (leak,) = found["leak"]
    assert (leak.subject, leak.as_of, leak.evidence["columns"]) == ("ml.features.fixed", None, {"fixed": DAYS * KEYS})
    assert "ml.features.daily" in next(one.fact for one in found["ok"] if one.check == "lookups")


def test_labels_that_come_later_than_they_say(workspace: Workspace) -> None:
    lookup = FeatureLookup("ml.features.daily", "id", timestamp_lookup_key="at")
    workspace.clock.set(T0 + 40 * DAY)
    later = _table([(1, T0 + 30 * DAY, 1)], "at", "bought")
    workspace.lake.append("ml.labels.bought", later)

    def subjects(pipeline: Pipeline) -> list[str]:
        times = choose_times(workspace, pipeline, (), 3)
        found = judge_histories(workspace, pipeline, find_rules(workspace.lake, pipeline), times)
        assert all(one.severity == "warning" for one in found)
        return [one.subject for one in found]

    # The first labels came within a day of the newest of them.
    assert subjects(_pipeline(lookup, known_after=timedelta(0))) == []
    workspace.lake.drop("ml.labels.bought")
    workspace.lake.ensure("ml.labels.bought", later.schema)
    workspace.lake.append("ml.labels.bought", later)
    assert subjects(_pipeline(lookup, known_after=timedelta(0))) == ["ml.labels.bought"]
    assert subjects(_pipeline(lookup)) == []


def test_a_looked_up_table_that_was_loaded_after_the_labels(workspace: Workspace) -> None:
    rows = workspace.lake.read("ml.features.daily")
    workspace.lake.drop("ml.features.daily")
    workspace.clock.set(T0 + 40 * DAY)
    create_feature_table(workspace.lake, "ml.features.daily", rows.schema, primary_keys="id", timeseries_column="day")
    workspace.lake.append("ml.features.daily", rows)
    pipeline = _pipeline(FeatureLookup("ml.features.daily", "id", timestamp_lookup_key="at"))
    times = choose_times(workspace, pipeline, (), 3)
    (found,) = judge_histories(workspace, pipeline, find_rules(workspace.lake, pipeline), times)
    assert (found.check, found.severity, found.subject) == ("history", "warning", "ml.features.daily")


def test_a_scratch_home_has_all_tables_with_their_versions_and_its_changes_stay_in_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    before = workspace.lake.read("ml.features.daily")
    url = workspace.settings.database_url
    scratch_home = tmp_path / "scratch"
    scratch_home.mkdir()
    own = f"sqlite:///{scratch_home / 'millrace.db'}"
    copy_facts(url, own)
    scratch = open_workspace(scratch_home)
    copy_tables(scratch.lake, url, own)
    assert scratch.clock.now() == workspace.clock.now()
    assert [entry.name for entry in scratch.lake.catalog.list()] == [
        entry.name for entry in workspace.lake.catalog.list()
    ]
    assert scratch.lake.pin("ml.features.daily", T0).version == workspace.lake.pin("ml.features.daily", T0).version
    rules = find_rules(scratch.lake, _pipeline(FeatureLookup("ml.features.daily", "id", timestamp_lookup_key="at")))
    change_tables(scratch.lake, rules, Job(Path("page.py"), "shop", url, "removed", T0 + DAY, rules))
    assert scratch.lake.rows("ml.features.daily") == 2 * KEYS
    assert scratch.lake.rows("ml.labels.bought") == KEYS  # known a day after its time
    scratch.lake.drop("ml.features.daily")
    scratch.close()
    assert workspace.lake.read("ml.features.daily").equals(before)


def test_tables_that_nothing_names_are_changed_too_logs_and_metrics_are_not(workspace: Workspace) -> None:
    pipeline = _pipeline(FeatureLookup("ml.features.daily", "id", timestamp_lookup_key="at"))
    rules = {rule.name: rule for rule in find_rules(workspace.lake, pipeline, "spark.table('ml.features.fixed')")}
    assert {name: (rule.is_timed, rule.declared, rule.named) for name, rule in rules.items()} == {
        "ml.features.daily": (True, True, True),
        "ml.features.fixed": (False, False, True),
        "ml.labels.bought": (True, True, True),
    }
