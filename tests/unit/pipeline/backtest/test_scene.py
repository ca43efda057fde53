"""Who asks, with which features, over a small lake: the same rows that a training set of production has."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

import millrace as mr
from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.pipeline.backtest.plan import prepare
from millrace.pipeline.backtest.scene import build_scene, compute_tables
from millrace.pipeline.backtest.store import Kept
from millrace.pipeline.backtest.types import Ask, Scene
from millrace.pipeline.context import Pins, Quiet
from millrace.pipeline.training_parts import assemble
from millrace.workspace import Workspace
from tests.unit.pipeline.backtest.scenes import NEVER
from tests.unit.pipeline.conftest import NOW, Fill
from tests.unit.pipeline.shop import DAY, LABELS, PURCHASES, START, WEEK, declared, labels_at, purchases

ROWS = [(1 + n % 7, START - 20 * DAY + n * 9 * timedelta(hours=1), 1.0 + n) for n in range(270)]
ASK = Ask(START + 6 * WEEK, NOW - 2 * WEEK, WEEK, (NEVER,))
LAST = START + 9 * WEEK  # the newest tick whose label, of two weeks, is known at the end


@pytest.fixture
def built(workspace: Workspace, fill: Fill, tmp_path: Path) -> tuple[Workspace, Scene]:
    fill(PURCHASES, purchases(ROWS))
    return workspace, build(workspace, declared(), tmp_path)


def build(workspace: Workspace, pipeline: mr.Pipeline, folder: Path, ask: Ask = ASK) -> Scene:
    prepared = prepare(workspace, pipeline, ask)
    compute_tables(workspace, pipeline, prepared, Quiet())
    return build_scene(workspace, pipeline, prepared, Kept(folder / "kept"))


def test_everybody_asks_whom_the_label_is_about_at_its_time(built: tuple[Workspace, Scene]) -> None:
    scene, at = built[1], START + 3 * WEEK
    expected = labels_at(ROWS, at)
    rows = scene.times_us == epoch_us(at)
    assert scene.labels[rows].tolist() == [float(str(row["came_back"])) for row in expected]
    assert len(set(scene.keys[rows].tolist())) == len(expected)


def test_after_the_newest_label_the_keys_of_the_snapshot_ask(built: tuple[Workspace, Scene]) -> None:
    scene = built[1]
    known = ~np.isnan(scene.labels)
    assert scene.times_us[known].max() == epoch_us(LAST)
    later = scene.times_us[~known]
    assert sorted(set(later.tolist())) == [epoch_us(LAST + WEEK), epoch_us(LAST + 2 * WEEK)]
    assert len(later) == 2 * 7
    assert any("asked are the keys of ml.features.shop" in note for note in scene.notes)


def test_features_are_those_of_a_training_set_of_production(built: tuple[Workspace, Scene]) -> None:
    workspace, scene = built
    parts = assemble(workspace, declared(), Pins(ASK.end))
    for part in (parts.train, parts.holdout):
        times = part.table.column("label_time").cast("int64").to_numpy()
        rows = np.flatnonzero(
            (scene.times_us >= times.min()) & (scene.times_us <= times.max()) & ~np.isnan(scene.labels)
        )
        assert len(rows) == part.table.num_rows
        for name in part.spec.inputs:
            assert scene.features.column(name).take(rows).to_pylist() == part.table.column(name).to_pylist()
        assert scene.labels[rows].tolist() == [float(value) for value in part.table.column("came_back").to_pylist()]


def test_it_is_made_once(built: tuple[Workspace, Scene], tmp_path: Path) -> None:
    workspace, scene = built
    workspace.lake.drop(LABELS)
    again = build_scene(workspace, declared(), prepare(workspace, declared(), ASK), Kept(tmp_path / "kept"))
    assert again.times_us.tolist() == scene.times_us.tolist()
    assert again.features.equals(scene.features)


def test_of_a_table_that_others_fill_nobody_knows_whom_later_labels_are_about(
    workspace: Workspace, fill: Fill, tmp_path: Path
) -> None:
    fill(PURCHASES, purchases(ROWS))
    build(workspace, declared(), tmp_path / "first")
    filled = workspace.lake.read(LABELS).filter(pc.field("label_time") <= LAST)
    fill("bronze.labels", filled)
    label = mr.Label("bronze.labels", "came_back", ("customer_id",), "label_time", known_after=2 * WEEK)
    scene = build(workspace, declared(label=label), tmp_path / "second")
    assert not np.isnan(scene.labels).any()
    assert any("nobody is asked" in note for note in scene.notes)


def test_without_any_known_label_there_is_nothing_to_replay(workspace: Workspace, fill: Fill, tmp_path: Path) -> None:
    fill(PURCHASES, purchases(ROWS))
    with pytest.raises(InvalidInput, match="is known at 2025-03-10"):
        build(workspace, declared(), tmp_path, Ask(START, START + WEEK, WEEK, (NEVER,)))
