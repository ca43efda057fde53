from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput
from millrace.lake.lake import Lake
from millrace.serving import drain as draining
from millrace.serving.capture import CaptureLog
from millrace.serving.drain import drain
from millrace.serving.types import Description, DrainResult

KEYS = (("customer_id", "int64"),)
INPUTS = (("spend", "double"), ("region", "string"))
ONE = Description("e/1/churn-1", "ml.logs.churn", "churn", 1, "churn-1", "ml.models.churn", "1", KEYS, INPUTS)
TWO = Description(
    "e/2/churn-2", "ml.logs.churn", "churn", 2, "churn-2", "ml.models.churn", "2", KEYS, (*INPUTS, ("visits", "double"))
)
AT_US = 1_740_830_400_000_000  # 2025-03-01 12:00 UTC
SOURCES = [("ml.features.churn", 1_740_787_200_000_000, 12)]


def record(
    number: int, description: Description = ONE, rows: list[Any] | None = None, **more: object
) -> dict[str, object]:
    row = [[number], [10.5, "north", 3.0][: len(description.inputs)], 1, 0.75, SOURCES]
    return {
        "description": description.id,
        "id": f"r-{number}",
        "client_request_id": None,
        "time_us": AT_US + number,
        "status": 200,
        "duration_ms": 1.6,
        "request": "{}",
        "response": '{"predictions":[1]}',
        "requester": "user:ada",
        "reached": True,
        "rows": [row] if rows is None else rows,
        **more,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "capture"


@pytest.fixture
def log(root: Path, clock: ManualClock) -> Iterator[CaptureLog]:
    made = CaptureLog(root, "w0", clock)
    yield made
    made.close()


def ids(lake: Lake, table: str = "ml.logs.churn_predictions") -> list[str]:
    column = "request_id" if table.endswith("predictions") else "databricks_request_id"
    return sorted(lake.read(table, columns=[column]).column(column).to_pylist())


def test_a_request_becomes_a_payload_row(lake: Lake, log: CaptureLog, root: Path) -> None:
    log.write(record(1, client_request_id="mine"), ONE)
    log.seal()
    assert drain(lake, root) == DrainResult(1, 1, 1)
    assert lake.read("ml.logs.churn_payload").to_pylist() == [
        {
            "databricks_request_id": "r-1",
            "request_date": date(2025, 3, 1),
            "client_request_id": "mine",
            "request_time": datetime(2025, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
            "status_code": 200,
            "sampling_fraction": 1.0,
            "execution_duration_ms": 2,
            "request": "{}",
            "response": '{"predictions":[1]}',
            "logging_error_codes": [],
            "served_entity_id": "churn-1",
            "requester": "user:ada",
            "request_metadata": [
                ("endpoint_name", "churn"),
                ("model_name", "ml.models.churn"),
                ("model_version", "1"),
            ],
            "features": (
                '[{"inputs":{"spend":10.5,"region":"north"},"probability":0.75,'
                '"sources":[{"table":"ml.features.churn","event_time":"2025-03-01T00:00:00Z","version":12}]}]'
            ),
        }
    ]
    assert not list(root.glob("*.segment"))


def test_a_prediction_becomes_a_row_with_its_features_and_their_sources(
    lake: Lake, log: CaptureLog, root: Path
) -> None:
    log.write(
        record(1, rows=[[[5], [10.5, "north"], 1, 0.75, SOURCES], [[6], [None, None], 0, 0.1, [["t", None, None]]]]),
        ONE,
    )
    log.seal()
    drain(lake, root)
    first, second = sorted(lake.read("ml.logs.churn_predictions").to_pylist(), key=lambda row: row["row"])
    assert first == {
        "request_id": "r-1",
        "row": 0,
        "timestamp": datetime(2025, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
        "client_request_id": None,
        "endpoint": "churn",
        "model_name": "ml.models.churn",
        "model_version": "1",
        "customer_id": 5,
        "spend": 10.5,
        "region": "north",
        "prediction": 1.0,
        "probability": 0.75,
        "actual_label": None,
        "label_time": None,
        "features": '[{"table":"ml.features.churn","event_time":"2025-03-01T00:00:00Z","version":12}]',
    }
    assert (second["row"], second["customer_id"], second["spend"], second["region"]) == (1, 6, None, None)
    assert second["features"] == '[{"table":"t","event_time":null,"version":null}]'


def test_a_failed_request_is_logged_without_predictions(lake: Lake, log: CaptureLog, root: Path) -> None:
    log.write(record(1, status=400, rows=[], reached=False), ONE)
    log.write(record(2, status=413, request=None, rows=[], reached=False), ONE)
    log.seal()
    assert drain(lake, root) == DrainResult(1, 2, 0)
    payload = sorted(lake.read("ml.logs.churn_payload").to_pylist(), key=lambda row: row["status_code"])
    assert [(row["status_code"], row["served_entity_id"], row["logging_error_codes"]) for row in payload] == [
        (400, None, []),
        (413, None, ["MAX_REQUEST_SIZE_EXCEEDED"]),
    ]
    assert lake.read("ml.logs.churn_predictions").num_rows == 0


def test_a_new_version_with_more_inputs_adds_columns(lake: Lake, log: CaptureLog, root: Path) -> None:
    log.write(record(1), ONE)
    log.seal()
    drain(lake, root)
    log.write(record(2), ONE)
    log.write(record(3, TWO), TWO)
    log.seal()
    drain(lake, root)
    rows = {row["request_id"]: row for row in lake.read("ml.logs.churn_predictions").to_pylist()}
    assert {name: (row["model_version"], row["visits"]) for name, row in rows.items()} == {
        "r-1": ("1", None),
        "r-2": ("1", None),
        "r-3": ("2", 3.0),
    }


def test_a_value_that_does_not_fit_its_column_is_null_and_stops_nothing(
    lake: Lake, log: CaptureLog, root: Path
) -> None:
    log.write(record(1), ONE)
    log.seal()
    drain(lake, root)
    text_keys = Description(**{**_fields(TWO), "keys": (("customer_id", "string"),), "id": "e/3/churn-2"})
    log.write(record(2, text_keys, rows=[[["c-2"], [1.0, "north", 1.0], "yes", 0.9, []]]), text_keys)
    log.write(record(3, rows=[[[2**63], [1.0, "north"], True, None, []]]), ONE)
    log.seal()
    drain(lake, root)
    rows = {row["request_id"]: row for row in lake.read("ml.logs.churn_predictions").to_pylist()}
    assert {name: (row["customer_id"], row["prediction"]) for name, row in rows.items()} == {
        "r-1": (1, 1.0),
        "r-2": (None, None),
        "r-3": (None, 1.0),
    }
    assert ids(lake, "ml.logs.churn_payload") == ["r-1", "r-2", "r-3"]


def test_texts_as_labels_are_kept_as_texts(lake: Lake, log: CaptureLog, root: Path) -> None:
    log.write(record(1, rows=[[[1], [1.0, "north"], "stays", None, []]]), ONE)
    log.seal()
    drain(lake, root)
    assert lake.read("ml.logs.churn_predictions").column("prediction").to_pylist() == ["stays"]


def test_columns_named_like_ours_are_kept_under_another_name(lake: Lake, log: CaptureLog, root: Path) -> None:
    odd = Description(**{**_fields(ONE), "inputs": (("Timestamp", "double"), ("customer_id", "double"))})
    log.write(record(1, odd, rows=[[[7], [1.5, 7.0], 1, None, []]]), odd)
    log.seal()
    drain(lake, root)
    (row,) = lake.read("ml.logs.churn_predictions").to_pylist()
    assert (row["input_Timestamp"], row["customer_id"]) == (1.5, 7)


def test_keys_that_json_does_not_have_are_stored_in_their_own_type(lake: Lake, log: CaptureLog, root: Path) -> None:
    dated = Description(**{**_fields(ONE), "keys": (("day", "date32[day]"), ("price", "decimal128(10, 2)"))})
    log.write(record(1, dated, rows=[[["2025-02-03", "1.50"], [1.0, "north"], 1, None, []]]), dated)
    log.seal()
    drain(lake, root)
    schema = lake.schema("ml.logs.churn_predictions")
    assert (schema.field("day").type, schema.field("price").type) == (pa.date32(), pa.decimal128(10, 2))
    assert lake.read("ml.logs.churn_predictions").column("day").to_pylist() == [date(2025, 2, 3)]


def test_endpoints_have_tables_of_their_own(lake: Lake, log: CaptureLog, root: Path) -> None:
    other = Description(**{**_fields(ONE), "table_prefix": "ml.logs.other", "id": "f/1/x"})
    log.write(record(1), ONE)
    log.write(record(2, other), other)
    log.seal()
    assert drain(lake, root).requests == 2
    assert (ids(lake), ids(lake, "ml.logs.other_predictions")) == (["r-1"], ["r-2"])


def test_commits_carry_the_clocks_time(lake: Lake, log: CaptureLog, root: Path, clock: ManualClock) -> None:
    log.write(record(1), ONE)
    log.seal()
    clock.advance(timedelta(days=400))
    drain(lake, root)
    assert lake.history("ml.logs.churn_payload")[-1].at == clock.now()


def test_large_captures_go_in_several_batches(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        log.write(record(number), ONE)
        log.seal()
    monkeypatch.setattr(draining, "_BATCH_BYTES", 2 * next(root.glob("*.segment")).stat().st_size)
    assert drain(lake, root) == DrainResult(5, 5, 5)
    assert ids(lake) == [f"r-{number}" for number in range(5)]
    assert lake.history("ml.logs.churn_payload")[-1].version == 3  # made, then three batches


def test_nothing_to_drain(lake: Lake, root: Path) -> None:
    assert drain(lake, root) == DrainResult(0, 0, 0)


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Fuse:
    """Lets a number of steps happen, then ends the process, before or after the step that it burns at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int, *, after: bool) -> None:
        self.left, self.after, self.burnt = steps, after, False
        for owner, name in ((Lake, "append"), (Lake, "create"), (Path, "unlink"), (Path, "replace")):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, step: Any) -> Any:
        def run(*args: Any, **more: Any) -> Any:
            if self.left == 0 and not self.after:
                self.burnt = True
                raise Killed
            result = step(*args, **more)
            if self.left == 0:
                self.burnt = True
                raise Killed
            self.left -= 1
            return result

        return run


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_each_record_is_there_exactly_once(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    expected: list[str] = []
    for steps in range(30):
        for number in (2 * steps, 2 * steps + 1):
            log.write(record(number), ONE)
            log.seal()
            expected.append(f"r-{number}")
        with monkeypatch.context() as patched:
            fuse = Fuse(patched, steps, after=after)
            with contextlib.suppress(Killed):
                drain(lake, root)
        drain(lake, root)
        if not fuse.burnt:
            break
    else:
        pytest.fail("the fuse was always burnt: raise the number of steps")
    assert steps > 5
    assert ids(lake) == sorted(expected)
    assert ids(lake, "ml.logs.churn_payload") == sorted(expected)
    assert not list(root.glob("*.segment"))


def test_a_table_that_refuses_keeps_its_segments_and_the_others_get_theirs(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Description(**{**_fields(ONE), "table_prefix": "ml.logs.other", "id": "f/1/x"})
    log.write(record(1), ONE)
    log.write(record(2, other), other)
    log.seal()
    append = Lake.append

    def refuse(self: Lake, name: Any, *args: Any) -> Any:
        if str(name).startswith("ml.logs.churn"):
            raise InvalidInput("the table can't take this")
        return append(self, name, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "append", refuse)
        with pytest.raises(InvalidInput, match="can't take this"):
            drain(lake, root)
    assert ids(lake, "ml.logs.other_predictions") == ["r-2"]
    assert drain(lake, root).requests == 2
    assert (ids(lake), ids(lake, "ml.logs.other_predictions")) == (["r-1"], ["r-2"])


def test_a_capture_folder_made_anew_is_not_taken_for_the_old_one(lake: Lake, root: Path, clock: ManualClock) -> None:
    for number in (1, 2):
        log = CaptureLog(root, "w0", clock)
        log.write(record(number), ONE)
        log.close()
        drain(lake, root)
        shutil.rmtree(root)
    assert ids(lake) == ["r-1", "r-2"]


def _fields(description: Description) -> dict[str, Any]:
    return {name: getattr(description, name) for name in Description.__dataclass_fields__}
