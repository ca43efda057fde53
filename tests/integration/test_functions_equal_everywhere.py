"""A feature function gives the same bits in training, in batch scoring and inside a request."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.augment import augment
from millrace.features.feature_specs import make_feature_spec
from millrace.features.functions.source import define
from millrace.features.matrix import model_frame, model_value
from millrace.features.online.lookup import OnlineFeatures, OnlineLookup
from millrace.features.online.publish import publish
from millrace.features.online.records import Asked
from millrace.features.spec import from_json, to_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.training_set import build_training_set
from millrace.features.types import FeatureFunction, FeatureLookup, FeatureSpec, FunctionVersion
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake

NOW = datetime(2025, 3, 30, 1, 30, tzinfo=UTC)
STAMP = pa.timestamp("us", "UTC")
JOIN = DuckDbAsOfJoin(threads=1)

# What is looked up, and what the request brings: one column of each kind.
STORED = {
    "money": pa.decimal128(18, 2),
    "count": pa.int32(),
    "flag": pa.bool_(),
    "single": pa.float32(),
    "double": pa.float64(),
    "text": pa.string(),
    "day": pa.date32(),
    "moment": STAMP,
}
SENT = {f"sent_{name}": kind for name, kind in STORED.items()}


SOURCES = {
    "money": "Decimal",
    "count": "int",
    "flag": "bool",
    "single": "float",
    "double": "float",
    "text": "str",
    "day": "date",
    "moment": "datetime",
}


def doubled(value: float) -> float:
    return value * 3.0


def opposite(value: float | None, other: float | None) -> float | None:
    if value is None or other is None:
        return None
    return value - other


def total(amount: Decimal, times: int) -> Decimal:
    return amount * times


def later(moment: datetime, day: date | None) -> datetime:
    from datetime import timedelta

    return moment + timedelta(days=0 if day is None else day.day)


def age_days(at: datetime, day: date) -> int:
    return (at.date() - day).days


def is_long(text: str | None) -> bool:
    return text is not None and len(text) > 2


def next_day(moment: datetime) -> date:
    return moment.date()


PLAIN = (doubled, opposite, total, later, age_days, is_long, next_day)


def found(name: str) -> FunctionVersion:
    """Registered functions: the plain ones, and one that shows the value that it was given, of each type."""
    short = name.rpartition(".")[2]
    return FunctionVersion(DEFINITIONS[short], 1, "", "user:ada", NOW)


def _shows(kind: str, folder: Path) -> Any:
    # In a file, as a user's own function is.
    text = (
        "from datetime import date, datetime\nfrom decimal import Decimal\n\n\n"
        f"def show_{kind}(value: {kind} | None) -> str:\n    return f'{{type(value).__name__}} {{value!r}}'\n"
    )
    path = folder / f"show_{kind}.py"
    path.write_text(text)
    namespace: dict[str, Any] = {}
    exec(compile(text, str(path), "exec", dont_inherit=True), namespace)  # noqa: S102 - a test
    return namespace[f"show_{kind}"]


DEFINITIONS: dict[str, Any] = {}
FEATURES: list[FeatureLookup | FeatureFunction] = [
    FeatureLookup(
        "f.t",
        ["x", "y"],
        timestamp_lookup_key="at",
        lookback_window=timedelta(days=3),
        default_values={"money": Decimal("0.10"), "single": 0.1, "day": date(2020, 2, 29)},
    ),
    *(
        FeatureFunction(f"show_{kind}", {"value": column}, f"seen_{column}")
        for name, kind in SOURCES.items()
        for column in (name, f"sent_{name}")
    ),
    FeatureFunction("doubled", {"value": "single"}),
    FeatureFunction("opposite", {"value": "doubled", "other": "sent_count"}),
    FeatureFunction("total", {"amount": "money", "times": "sent_count"}),
    FeatureFunction("show_Decimal", {"value": "total"}, "seen_total"),
    FeatureFunction("later", {"moment": "sent_moment", "day": "day"}),
    FeatureFunction("show_datetime", {"value": "later"}, "seen_later"),
    FeatureFunction("age_days", {"at": "at", "day": "day"}),
    FeatureFunction("is_long", {"text": "text"}),
    FeatureFunction("next_day", {"moment": "later"}),
    FeatureFunction("show_date", {"value": "next_day"}, "seen_next_day"),
    FeatureFunction("show_int", {"value": "x"}, "seen_key"),
    FeatureFunction("show_datetime", {"value": "at"}, "seen_at"),
]
# What no model takes is made for the functions only.
EXCLUDE = ("x", "y", "at", "moment", "day", "sent_moment", "sent_day", "sent_money", "later", "next_day", "row")


def value_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    kinds: dict[pa.DataType, st.SearchStrategy[Any]] = {
        STORED["money"]: st.decimals(-(10**7), 10**7, places=2),
        STORED["count"]: st.integers(-(2**31), 2**31 - 1),
        STORED["flag"]: st.booleans(),
        STORED["single"]: st.floats(width=32),
        STORED["double"]: st.floats(),
        STORED["text"]: st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5),
        STORED["day"]: st.dates(date(1900, 1, 1), date(2100, 1, 1)),
        STORED["moment"]: st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds have no zone
    }
    return st.one_of(st.none(), kinds[kind])


def rows_of(columns: dict[str, pa.DataType]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: value_of(kind) for name, kind in columns.items()})


KEYS = st.tuples(st.integers(1, 2), st.sampled_from(["1", "11"]))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("home")
    DEFINITIONS.update({plain.__name__: define(plain.__name__, plain) for plain in PLAIN})
    DEFINITIONS.update({f"show_{kind}": define(f"show_{kind}", _shows(kind, made)) for kind in set(SOURCES.values())})
    return made


@pytest.fixture(scope="module")
def lake(home: Path) -> Iterator[Lake]:
    engine = open_database(f"sqlite:///{home / 'home.db'}")
    yield Lake(SqlCatalog(engine), DeltaTableStore(), ManualClock(NOW), Principal("user", "ada"), str(home / "lake"))
    engine.dispose()


@pytest.fixture(scope="module")
def online(home: Path) -> Iterator[LmdbOnlineStore]:
    store = LmdbOnlineStore(home / "online")
    yield store
    store.close()


def same(one: object, two: object) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return struct.pack("<d", one) == struct.pack("<d", two) or (math.isnan(one) and math.isnan(two))
    return type(one) is type(two) and one == two


def as_json(value: object) -> object:
    """As a client writes it: what JSON has no form for goes as text."""
    return str(value) if isinstance(value, date | Decimal) else value


@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    stored=st.dictionaries(KEYS, rows_of(STORED), max_size=4),
    sent=st.lists(st.tuples(KEYS, rows_of(SENT)), min_size=1, max_size=5),
    days=st.integers(0, 4),
)
def test_the_same_bits_in_training_in_batches_and_in_requests(
    lake: Lake, online: LmdbOnlineStore, *, stored: Any, sent: Any, days: int
) -> None:
    at = NOW + timedelta(days=days)
    _publish(lake, online, stored, at)
    requests = pa.table(
        {
            "x": pa.array([key[0] for key, _ in sent], pa.int64()),
            "y": pa.array([key[1] for key, _ in sent]),
            "at": pa.array([at] * len(sent), STAMP),
            "row": pa.array(range(len(sent))),
            **{name: pa.array([row[name] for _, row in sent], kind) for name, kind in SENT.items()},
        }
    )
    made = build_training_set(lake, JOIN, requests, FEATURES, None, exclude=EXCLUDE, as_of=at, functions=found)
    spec = from_json(made.record.spec)
    assert spec == made.spec
    trained = made.features()

    scored = augment(lake, JOIN, spec, requests, as_of=at)
    assert scored.schema.equals(made.table.schema)
    batch = model_frame(scored, spec.inputs)

    records = [{"x": key[0], "y": key[1]} | {name: as_json(value) for name, value in row.items()} for key, row in sent]
    answers = OnlineLookup(online, spec).augment(records, at)
    features = OnlineFeatures(online, spec).find(records, at)
    offline = made.table.to_pylist()
    for number, answer in enumerate(answers):
        for place, name in enumerate(spec.inputs):
            one, two = (frame[name].iloc[number] for frame in (trained, batch))
            served = _as_number(answer.inputs[place], one)
            assert same(one, two), (name, one, two)
            assert same(_python(one), served), (name, one, served)
            if name not in spec.request_columns:
                whole = features[number].values[name]
                assert same(_plain(offline[number][name]), _plain(whole)), (name, offline[number][name], whole)


def _publish(lake: Lake, online: LmdbOnlineStore, stored: Any, at: datetime) -> None:
    if lake.exists("f.t"):
        lake.drop("f.t")
    table = pa.table(
        {
            "a": pa.array([key[0] for key in stored], pa.int32()),
            "b": pa.array([key[1] for key in stored], pa.string()),
            "ts": pa.array([NOW] * len(stored), STAMP),
            **{name: pa.array([row[name] for row in stored.values()], kind) for name, kind in STORED.items()},
        }
    )
    create_feature_table(lake, "f.t", table.schema, primary_keys=["a", "b"], timeseries_column="ts")
    if stored:
        write_feature_rows(lake, "f.t", table)
    online.remove(lake.entry("f.t").name)
    publish(lake, online, "f.t", as_of=at)


def _python(value: object) -> object:
    return float(value) if isinstance(value, float) else value


def _plain(value: object) -> object:
    """Times in one zone object; a decimal with its scale, which `==` does not see."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return str(value) if isinstance(value, Decimal) else value


def _as_number(value: object, like: object) -> object:
    """A null that the request sent itself is None to the server, and NaN in the model's own column of numbers."""
    return math.nan if value is None and isinstance(like, float) else value


def test_what_the_request_brings_wins_over_the_function(lake: Lake, online: LmdbOnlineStore) -> None:
    _publish(lake, online, {(1, "1"): dict.fromkeys(STORED)}, NOW)
    requests = pa.table({"x": [1], "y": ["1"], "at": pa.array([NOW], STAMP), "n": pa.array([2])})
    features: list[FeatureLookup | FeatureFunction] = [
        FeatureLookup("f.t", ["x", "y"], ["single"], timestamp_lookup_key="at", default_values={"single": 1.5}),
        FeatureFunction("doubled", {"value": "single"}, "middle"),
        FeatureFunction("opposite", {"value": "middle", "other": "n"}, "end"),
    ]
    hidden = ("x", "y", "at", "single", "middle", "n")
    spec = build_training_set(lake, JOIN, requests, features, None, exclude=hidden, as_of=NOW, functions=found).spec
    assert (spec.inputs, spec.request_columns) == (("end",), ("n",))

    lookup = OnlineLookup(online, spec)
    base = {"x": 1, "y": "1"}

    def offline(**columns: object) -> object:
        given = {"x": [1], "y": ["1"], "at": pa.array([NOW], STAMP)} | {k: [v] for k, v in columns.items()}
        table = augment(lake, JOIN, spec, pa.table(given), as_of=NOW)
        return model_frame(table, spec.inputs)["end"].iloc[0]

    cases: list[tuple[dict[str, float], float]] = [
        ({"n": 2}, 2.5),
        ({"n": 2, "single": 2.0}, 4.0),
        ({"n": 2, "middle": 7.0}, 5.0),
        ({"end": 9.0}, 9.0),  # what nothing depends on is not asked for
    ]
    for columns, expected in cases:
        (row,) = lookup.augment([base | columns], NOW)
        assert row.inputs == (expected,)
        assert offline(**columns) == expected
        assert model_value(OnlineFeatures(online, spec).find([base | columns], NOW)[0].values["end"]) == expected


def test_a_spec_of_functions_alone_needs_no_table(online: LmdbOnlineStore, lake: Lake) -> None:
    made = build_training_set(
        lake,
        JOIN,
        pa.table({"n": [1, 2]}),
        [FeatureFunction("doubled", {"value": "n"})],
        None,
        as_of=NOW,
        functions=found,
    )
    assert made.table.column("doubled").to_pylist() == [3.0, 6.0]
    assert made.record.code == {"default.doubled": DEFINITIONS["doubled"].code_hash}
    (row,) = OnlineLookup(online, made.spec).augment([{"n": 5}], NOW)
    assert row.inputs == (5.0, 15.0)


def test_the_time_of_the_question_is_what_the_function_was_trained_with(lake: Lake, online: LmdbOnlineStore) -> None:
    _publish(lake, online, {(1, "1"): dict.fromkeys(STORED)}, NOW)
    features: list[FeatureLookup | FeatureFunction] = [
        FeatureLookup("f.t", ["x", "y"], ["single"], timestamp_lookup_key="at"),
        FeatureFunction("show_date", {"value": "at"}, "seen"),
    ]
    days = pa.table({"x": [1], "y": ["1"], "at": pa.array([date(2025, 3, 30)])})
    made = build_training_set(lake, JOIN, days, features, None, exclude=["x", "y", "at"], as_of=NOW, functions=found)
    assert made.table.column("seen").to_pylist() == ["date datetime.date(2025, 3, 30)"]
    assert made.spec.request_columns == ()
    # Asked at an instant, the function is still given its day.
    (served,) = OnlineLookup(online, made.spec).augment([{"x": 1, "y": "1", "at": "never read"}], NOW)
    assert served.inputs[1] == "date datetime.date(2025, 3, 30)"
    late = datetime(2025, 3, 31, 1, tzinfo=timezone(timedelta(hours=2)))
    instants = days.set_column(2, "at", pa.array([late], pa.timestamp("ns", "Europe/Berlin")))
    scored = augment(lake, JOIN, made.spec, instants, as_of=late)
    assert scored.column("seen").to_pylist() == ["date datetime.date(2025, 3, 30)"]  # in UTC
    assert scored.column("at").equals(instants.column("at"))
    by_name, ask = OnlineFeatures(online, _named(lake, features)), [{"x": 1, "y": "1"}]
    assert by_name.find(ask, late).as_json() == [{"single": None, "seen": "date datetime.date(2025, 3, 30)"}]
    # Of requests that are asked together each has its own time.
    asked = [Asked(ask, late), Asked(ask * 2, late + timedelta(days=1))]
    shown = [f"date datetime.date(2025, 3, {day})" for day in (30, 31, 31)]
    assert [row.values["seen"] for row in by_name.find_all(asked)] == shown
    assert [row.inputs[1] for row in OnlineLookup(online, made.spec).augment_all(asked)] == shown


def _named(lake: Lake, features: list[FeatureLookup | FeatureFunction]) -> FeatureSpec:
    made = make_feature_spec(lake, features, found, as_of=NOW)
    assert from_json(to_json(made)) == made
    return made
