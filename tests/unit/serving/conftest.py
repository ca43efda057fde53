from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from millrace.core.clock import ManualClock
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.serving.request_log import CURRENT
from tests.unit.serving.lanes import LogLines, MakeScene, Scene

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
WriteModel = Callable[..., Path]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Lake:
    engine = open_database(f"sqlite:///{tmp_path / 'millrace.db'}")
    return Lake(SqlCatalog(engine), DeltaTableStore(), clock, Principal("user", "ada"), str(tmp_path / "warehouse"))


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Writes a model folder as MLflow would, without MLflow's two seconds of import."""

    def write(
        name: str,
        flavors: dict[str, Any],
        inputs: Sequence[tuple[str, str]],
        *,
        feature_spec: str | None = None,
        example: Sequence[Sequence[object]] | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        signature = json.dumps([{"type": kind, "name": column, "required": True} for column, kind in inputs])
        content: dict[str, Any] = {"flavors": flavors, "signature": {"inputs": signature}}
        if feature_spec is not None:
            content["metadata"] = {"millrace": {"feature_spec": feature_spec}}
        if example is not None:
            info = {"type": "dataframe", "pandas_orient": "split", "artifact_path": "input_example.json"}
            content["saved_input_example_info"] = info
            rows = {"columns": [column for column, _ in inputs], "data": example}
            (folder / "input_example.json").write_text(json.dumps(rows))
        (folder / "MLmodel").write_text(json.dumps(content))  # JSON is YAML
        return folder

    return write


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    scenes: list[Scene] = []

    def scene(**more: Any) -> Scene:
        root = tmp_path / str(len(scenes))
        root.mkdir()
        scenes.append(Scene(root, **more))
        return scenes[-1]

    yield scene
    for each in scenes:
        each.close()


@pytest.fixture
def written_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each os.write had."""
    sizes: list[int] = []
    write = os.write

    def noting(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr("millrace.serving.capture.segments.os.write", noting)
    return sizes


@pytest.fixture
def log_lines(caplog: pytest.LogCaptureFixture) -> LogLines:
    """(message, as whom) of each line of the log."""
    noted: LogLines = []

    class Noting(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            noted.append((record.getMessage(), CURRENT.get()))
            return True

    caplog.handler.addFilter(Noting())
    return noted
