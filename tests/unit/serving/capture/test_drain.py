from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput
from millrace.lake.lake import Lake
from millrace.serving.bodies.dialects import ARROW_FILE, ARROW_STREAM, PARQUET
from millrace.serving.capture import inference_tables, journal
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.drain import drain
from millrace.serving.capture.segments import framed, read_segment
from millrace.serving.types import Description, DrainResult
from millrace.testing.traffic import Row, kept

KEYS = (("customer_id", "int64"),)
INPUTS = (("spend", "double"), ("region", "string"))
ONE = Description("e/1/churn-1", "ml.logs.churn", "churn", 1, "churn-1", "ml.models.churn", "1", KEYS, INPUTS)
TWO = Description(
    "e/2/churn-2", "ml.logs.churn", "churn", 2, "churn-2", "ml.models.churn", "2", KEYS, (*INPUTS, ("visits", "double"))
)
SOURCES = [("ml.features.churn", 1_740_787_200_000_000, 12)]


def record(number: int, description: Description = ONE, rows: list[Row] | None = None, **more: Any) -> bytes:
    row: Row = ([number], [10.5, "north", 3.0][: len(description.inputs)], 1, 0.75, SOURCES)
    more.setdefault("at_us", 1_740_830_400_000_000 + number)
    return kept(description, f"r-{number}", [row] if rows is None else rows, **more)


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
                ("endpoint_generation", "1"),
                ("model_name", "ml.models.churn"),
                ("model_version", "1"),
            ],
            "execution_duration_us": 1600,
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
        record(1, rows=[([5], [10.5, "north"], 1, 0.75, SOURCES), ([6], [None, None], 0, 0.1, [("t", None, None)])]),
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
    log.write(record(2, status=413, raw=None, rows=[], reached=False), ONE)
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
    log.write(record(2, text_keys, rows=[(["c-2"], [1.0, "north", 1.0], "yes", 0.9, [])]), text_keys)
    log.write(record(3, rows=[([2**63], [1.0, "north"], True, None, [])]), ONE)
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
    log.write(record(1, rows=[([1], [1.0, "north"], "stays", None, [])]), ONE)
    log.seal()
    drain(lake, root)
    assert lake.read("ml.logs.churn_predictions").column("prediction").to_pylist() == ["stays"]


def test_columns_named_like_ours_are_kept_under_another_name(lake: Lake, log: CaptureLog, root: Path) -> None:
    odd = Description(**{**_fields(ONE), "inputs": (("Timestamp", "double"), ("customer_id", "double"))})
    log.write(record(1, odd, rows=[([7], [1.5, 7.0], 1, None, [])]), odd)
    log.seal()
    drain(lake, root)
    (row,) = lake.read("ml.logs.churn_predictions").to_pylist()
    assert (row["input_Timestamp"], row["customer_id"]) == (1.5, 7)


def test_keys_that_json_does_not_have_are_stored_in_their_own_type(lake: Lake, log: CaptureLog, root: Path) -> None:
    dated = Description(**{**_fields(ONE), "keys": (("day", "date32[day]"), ("price", "decimal128(10, 2)"))})
    log.write(record(1, dated, rows=[(["2025-02-03", "1.50"], [1.0, "north"], 1, None, [])]), dated)
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
    monkeypatch.setattr(journal, "_BATCH_BYTES", 2 * next(root.glob("*.segment")).stat().st_size)
    assert drain(lake, root) == DrainResult(5, 5, 5)
    assert ids(lake) == [f"r-{number}" for number in range(5)]
    assert lake.history("ml.logs.churn_payload")[-1].version == 3  # made, then three batches


def test_nothing_to_drain(lake: Lake, root: Path) -> None:
    assert drain(lake, root) == DrainResult(0, 0, 0)


def test_what_was_on_the_disk_is_deleted_when_the_tables_are_there_too(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noted(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def run(*args: Any, **more: Any) -> Any:
            steps.append(name)
            return call(*args, **more)

        monkeypatch.setattr(owner, name, run)

    for number in (1, 2):
        log.write(record(number), ONE)
        log.seal()
    noted(Lake, "append")
    noted(os, "sync")
    noted(Path, "unlink")
    drain(lake, root)
    # Of both tables; a power cut after it takes neither from us.
    assert steps == ["append", "append", "sync", "unlink", "unlink", *steps[5:]]
    assert "append" not in steps[5:]


def test_the_disk_is_asked_once_for_all_that_waited_and_not_where_nothing_was_committed(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Refusing(monkeypatch)
    refusing.tables = {"ml.logs.churn_predictions"}
    for number in (1, 2, 3):
        log.write(record(number), ONE)
        log.seal()
        drain(lake, root)
    refusing.tables = set()
    steps: list[str] = []
    unlink = Path.unlink

    def noted(path: Path, *, missing_ok: bool = False) -> None:
        steps.append(path.suffix)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "sync", lambda: steps.append("sync"))
    monkeypatch.setattr(Path, "unlink", noted)
    drain(lake, root)
    assert steps == ["sync", ".held", ".held", ".held"]
    (root / "old.segment").write_bytes(b"of another format")
    drain(lake, root)
    assert set(steps[4:]) == {".segment"}
    assert ids(lake) == ["r-1", "r-2", "r-3"]


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


OTHER = Description(
    **{**{name: getattr(ONE, name) for name in ONE.__slots__}, "table_prefix": "ml.logs.other", "id": "f/1/x"}
)


class Refusing:
    """Lets tables refuse rows, after some of them were taken all the same where `late`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, late: bool = False) -> None:
        self.tables: set[str] = set()
        append = Lake.append

        def refuse(lake: Lake, name: Any, *args: Any) -> Any:
            if name in self.tables and not late:
                raise InvalidInput("the table can't take this")
            done = append(lake, name, *args)
            if name in self.tables:
                raise InvalidInput("the answer of the storage got lost")
            return done

        monkeypatch.setattr(Lake, "append", refuse)


def test_a_table_that_refuses_holds_up_no_other_and_gets_its_rows_later(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusing = Refusing(monkeypatch)
    refusing.tables = {"ml.logs.churn_predictions"}
    for number in (1, 3, 5):
        log.write(record(number), ONE)
        log.write(record(number + 1, OTHER), OTHER)
        log.seal()
        assert drain(lake, root) == DrainResult(1, 2, 2, held=(number + 1) // 2)
        assert not list(root.glob("*.segment"))
    assert "rows wait for ml.logs.churn_predictions" in caplog.text
    assert ids(lake, "ml.logs.churn_payload") == ["r-1", "r-3", "r-5"]
    assert ids(lake, "ml.logs.other_predictions") == ids(lake, "ml.logs.other_payload") == ["r-2", "r-4", "r-6"]
    assert ids(lake) == []
    refusing.tables = set()
    assert drain(lake, root) == DrainResult(0, 0, 0)
    assert ids(lake) == ["r-1", "r-3", "r-5"]
    assert not list(root.glob("*.held"))


def test_rows_that_a_refusing_table_took_after_all_are_there_once(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Refusing(monkeypatch, late=True)
    refusing.tables = {"ml.logs.churn_predictions", "ml.logs.churn_payload"}
    for number in (1, 2):
        log.write(record(number), ONE)
        log.seal()
        drain(lake, root)
    refusing.tables = set()
    log.write(record(3), ONE)
    log.seal()
    drain(lake, root)
    assert ids(lake) == ids(lake, "ml.logs.churn_payload") == ["r-1", "r-2", "r-3"]


@pytest.mark.parametrize("damage", [lambda _: b"", lambda content: content[:-1] + b"?", lambda _: b"no frame at all"])
def test_what_waits_and_is_damaged_meanwhile_is_put_aside_and_ends_no_drain(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    refusing = Refusing(monkeypatch)
    refusing.tables = {"ml.logs.churn_predictions"}
    log.write(record(1), ONE)
    log.seal()
    drain(lake, root)
    (waiting,) = root.glob("*.held")
    content = damage(waiting.read_bytes())
    waiting.write_bytes(content)
    (root / "of-somebody-else.held").write_bytes(b"?")
    log.write(record(2), ONE)
    log.seal()
    drain(lake, root)  # in which the table still refuses what is whole
    refusing.tables = set()
    drain(lake, root)
    assert ids(lake) == ["r-2"]
    assert ids(lake, "ml.logs.churn_payload") == ["r-1", "r-2"]
    assert [path.name for path in root.glob("*.held")] == ["of-somebody-else.held"]
    # All that was in the file, but for the description, which is no record.
    aside = b"".join(path.read_bytes() for path in root.glob("*.aside"))
    assert content.endswith(aside)
    assert bool(aside) == bool(content)


@pytest.mark.parametrize("after", [False, True])
def test_killed_while_a_table_refuses_each_record_is_there_exactly_once(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    refusing = Refusing(monkeypatch)
    for steps in range(40):
        # A table refuses in two drains of three, and a drain is killed in each of the places.
        refusing.tables = {"ml.logs.churn_predictions"} if steps % 3 else set()
        log.write(record(2 * steps), ONE)
        log.write(record(2 * steps + 1, OTHER), OTHER)
        log.seal()
        with monkeypatch.context() as patched:
            Fuse(patched, steps % 14, after=after)
            with contextlib.suppress(Killed):
                drain(lake, root)
    refusing.tables = set()
    drain(lake, root)
    mine, theirs = (sorted(f"r-{2 * steps + more}" for steps in range(40)) for more in (0, 1))
    assert ids(lake) == ids(lake, "ml.logs.churn_payload") == mine
    assert ids(lake, "ml.logs.other_predictions") == ids(lake, "ml.logs.other_payload") == theirs
    assert {path.name for path in root.iterdir()} <= {"drain.json", "drain.lock"}


def test_a_table_whose_name_is_none_holds_up_no_other(lake: Lake, log: CaptureLog, root: Path) -> None:
    bad = Description(**{**_fields(ONE), "table_prefix": "no/such.place of a table", "id": "g/1/x"})
    log.write(record(1, bad), bad)
    log.write(record(2), ONE)
    log.seal()
    assert drain(lake, root) == DrainResult(1, 2, 2, held=2)
    assert ids(lake) == ["r-2"]


def test_a_damaged_frame_costs_its_own_record_only_and_is_put_aside(
    lake: Lake, log: CaptureLog, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        log.write(record(number), ONE)
    log.seal()
    (segment,) = root.glob("*.segment")
    content = bytearray(segment.read_bytes())
    content[content.index(b'"r-2"')] ^= 1
    segment.write_bytes(content)
    assert drain(lake, root) == DrainResult(1, 2, 2, aside=1)
    assert ids(lake) == ["r-1", "r-3"]
    (aside,) = root.glob("*.aside")
    assert aside.read_bytes() in bytes(content)
    assert len(aside.read_bytes()) == len(framed(record(2)))
    assert str(aside) in caplog.text
    assert drain(lake, root) == DrainResult(0, 0, 0)


def test_a_segment_of_another_format_is_put_aside_whole(lake: Lake, log: CaptureLog, root: Path) -> None:
    (root / "old.segment").write_bytes(b"\x02\x00\x00\x00\x12\x34\x56\x78{}")
    log.write(record(1), ONE)
    log.seal()
    assert drain(lake, root) == DrainResult(2, 1, 1, aside=1)
    assert [path.read_bytes() for path in root.glob("*.aside")] == [b"\x02\x00\x00\x00\x12\x34\x56\x78{}"]


def test_records_without_their_description_are_put_aside(lake: Lake, log: CaptureLog, root: Path) -> None:
    log.write(record(1), ONE)
    log.seal()
    (first,) = root.glob("*.segment")
    frames = read_segment(first).payloads
    first.write_bytes(framed(frames[1]))
    assert drain(lake, root) == DrainResult(1, 0, 0, aside=1)
    (aside,) = root.glob("*.aside")
    assert read_segment(aside).payloads == frames[1:]
    # Another segment's description does as well.
    (root / "a.segment").write_bytes(framed(frames[1]))
    (root / "b.segment").write_bytes(framed(frames[0]))
    assert drain(lake, root) == DrainResult(2, 1, 1)
    assert ids(lake) == ["r-1"]


def test_a_record_that_nothing_can_be_made_of_is_put_aside_and_stops_nothing(
    lake: Lake, log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = inference_tables._keys

    def choke(name: str, kind: str, values: list[object]) -> list[object]:
        if 4 in values:
            raise ValueError("a bug")
        return keys(name, kind, values)

    monkeypatch.setattr(inference_tables, "_keys", choke)
    for number in range(1, 8):
        log.write(record(number), ONE)
    log.seal()
    assert drain(lake, root) == DrainResult(1, 7, 7, aside=1)
    assert ids(lake) == [f"r-{number}" for number in (1, 2, 3, 5, 6, 7)]
    assert ids(lake, "ml.logs.churn_payload") == [f"r-{number}" for number in range(1, 8)]
    (aside,) = root.glob("*.aside")
    assert read_segment(aside).payloads[1:] == [record(4)]


@pytest.mark.parametrize(
    ("inputs", "values"),
    [
        (INPUTS[:1], [1.0]),
        (INPUTS[1:], ["north"]),
        ((*INPUTS, ("visits", "double")), [1.0, "north", 2.0]),
        ((*INPUTS, ("town", "string")), [1.0, "north", "York"]),
    ],
    ids=["no text", "no number", "a number more", "a text more"],
)
def test_a_record_whose_rows_do_not_match_its_description_is_put_aside(
    lake: Lake, log: CaptureLog, root: Path, inputs: tuple[tuple[str, str], ...], values: list[object]
) -> None:
    other = Description(**{**_fields(ONE), "inputs": inputs})
    log.write(record(1), ONE)
    log.write(kept(other, "r-2", [([2], values, 1, 0.5, [])]), ONE)
    log.seal()
    assert drain(lake, root).aside == 2  # in each of the two tables
    assert ids(lake) == ids(lake, "ml.logs.churn_payload") == ["r-1"]


def test_binary_requests_are_rendered_as_dataframe_split(lake: Lake, log: CaptureLog, root: Path) -> None:
    table = pa.table({"customer_id": [7, 8], "day": pa.array([date(2025, 2, 3), None])})
    stream, file = _arrow(table, pa.ipc.new_stream), _arrow(table, pa.ipc.new_file)
    bodies = {PARQUET.name: _parquet(table), ARROW_STREAM.name: stream, ARROW_FILE.name: file}
    for number, (dialect, raw) in enumerate(bodies.items()):
        log.write(record(number, raw=raw, dialect=dialect), ONE)
        log.write(record(10 + number, raw=b"not one", dialect=dialect), ONE)
        log.write(record(20 + number, raw=raw, dialect=dialect, status=400, rows=[]), ONE)
    log.write(record(30, raw=b"customer_id\n7\n", dialect="csv"), ONE)
    log.seal()
    drain(lake, root)
    rows = {row["databricks_request_id"]: row for row in lake.read("ml.logs.churn_payload").to_pylist()}
    rendered = '{"dataframe_split":{"columns":["customer_id","day"],"data":[[7,"2025-02-03"],[8,null]]}}'
    found = {name: (row["request"], row["logging_error_codes"]) for name, row in rows.items()}
    for number in range(3):
        assert found[f"r-{number}"] == (rendered, [])
        assert found[f"r-{10 + number}"] == found[f"r-{20 + number}"] == (None, ["REQUEST_NOT_TEXT"])
    assert found["r-30"] == ("customer_id\n7\n", [])


def test_texts_over_a_megabyte_are_left_out_and_say_so(lake: Lake, log: CaptureLog, root: Path) -> None:
    log.write(record(1, raw=b"x" * ((1 << 20) + 1), body=b"y" * ((1 << 20) + 1)), ONE)
    long_when_rendered = pa.table({"a": ["z" * 100] * 12_000})
    log.write(record(2, raw=_parquet(long_when_rendered), dialect="parquet"), ONE)
    log.seal()
    drain(lake, root)
    rows = {row["databricks_request_id"]: row for row in lake.read("ml.logs.churn_payload").to_pylist()}
    assert (rows["r-1"]["request"], rows["r-1"]["response"], rows["r-2"]["request"]) == (None, None, None)
    assert rows["r-1"]["logging_error_codes"] == ["MAX_REQUEST_SIZE_EXCEEDED", "MAX_RESPONSE_SIZE_EXCEEDED"]
    assert rows["r-2"]["logging_error_codes"] == ["MAX_REQUEST_SIZE_EXCEEDED"]
    assert ids(lake) == ["r-1", "r-2"]


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


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _arrow(table: pa.Table, new: Callable[..., Any]) -> bytes:
    sink = pa.BufferOutputStream()
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
