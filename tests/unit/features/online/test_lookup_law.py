"""Whatever is published, looked up and asked: a request gets what plain Python finds, value by value."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.features.defaults import arrow_type
from millrace.features.online.codec import RowCodec
from millrace.features.online.key_bytes import LONGEST_KEY, encode_key
from millrace.features.online.key_codes import KeyCodes
from millrace.features.online.lookup import OnlineFeatures, OnlineLookup
from millrace.features.online.records import Asked
from millrace.features.online.table import feature_types
from millrace.features.types import FeatureLookup, FeatureSpec, MissingKeys, OnlineTable
from millrace.lake.types import Version
from millrace.serving.inputs import InputReader
from tests.unit.features.online.shelf import Shelf

NAME = TableName.parse("f.t")
DAY = timedelta(days=1)
START = datetime(2025, 3, 1, tzinfo=UTC)
WORDS = st.text(st.characters(codec="utf-8"), max_size=3)
KINDS: dict[str, tuple[st.SearchStrategy[Any], object]] = {
    "double": (st.floats(), 0.1),
    "float": (st.floats(width=32), 0.5),
    "int64": (st.integers(-(2**63), 2**63 - 1), 7),
    "uint8": (st.integers(0, 255), 0),
    "bool": (st.booleans(), True),
    "string": (WORDS, "?"),
    "decimal128(18, 2)": (st.decimals(-(10**15), 10**15, places=2), Decimal("0.10")),
}
# A key is a whole number, or that and a text.
KEYS: dict[int, list[tuple[Any, ...]]] = {1: [(1,), (2,), (2**64 + 1,)], 2: [(1, "x"), (1, "xx"), (2, "x")]}
KEY_COLUMNS = ("a", "b")


@dataclass
class Case:
    """What is published and how it is looked up. Rows of a key: event time and values, newest first."""

    types: dict[str, str]
    timed: bool
    after: timedelta
    rows: dict[tuple[Any, ...], list[tuple[datetime, dict[str, Any]]]]
    lookups: list[FeatureLookup]
    inputs: list[str]
    policy: MissingKeys

    def shelf(self) -> Shelf:
        width = len(next(iter(self.rows)))
        keys = dict(zip(KEY_COLUMNS, ("int64", "string"), strict=True)) if width > 1 else {"a": "int64"}
        table = OnlineTable(
            NAME, tuple(keys), "ts" if self.timed else None, self.after,
            keys | ({"ts": "timestamp[us, tz=UTC]"} if self.timed else {}) | self.types,
            Version(3), START, len(self.rows), None,
        )  # fmt: skip
        codec = RowCodec(feature_types(table))
        return Shelf(table, {encode_key(key): self._packed(codec, rows) for key, rows in self.rows.items()})

    def _packed(self, codec: RowCodec, rows: list[tuple[datetime, dict[str, Any]]]) -> bytes:
        columns = {
            name: pa.array([values[name] for _, values in rows], arrow_type(kind)) for name, kind in self.types.items()
        }
        times = np.array([epoch_us(at) for at, _ in rows]) if self.timed else None
        (packed,) = codec.pack(pa.table(columns), times, np.array([0]))
        return packed

    def outputs(self, lookup: FeatureLookup) -> dict[str, str]:
        """Output to column."""
        return {lookup.rename_outputs.get(name, name): name for name in lookup.feature_names or ()}

    def asked(self, lookup: FeatureLookup) -> set[str]:
        return {output for output in self.outputs(lookup) if output in self.inputs}

    def find(self, lookup: FeatureLookup, record: Mapping[str, Any], now: datetime) -> Any:
        for at, values in self.rows.get(tuple(record[column] for column in lookup.keys), []):
            if not self.timed:
                return at, values
            age = now - at - self.after
            if age >= timedelta(0):
                return (at, values) if lookup.lookback_window is None or age <= lookup.lookback_window else None
        return None

    def answer(self, record: Mapping[str, Any], now: datetime) -> tuple[dict[str, Any], list[Any]]:
        """The features in their own types, and where they came from. Raises LookupError, KeyError."""
        values: dict[str, Any] = {}
        sources: list[Any] = []
        for lookup in self.lookups:
            if record.keys() >= set(self.inputs) or record.keys() >= self.asked(lookup):
                continue
            row = self.find(lookup, record, now)
            if row is None and self.policy == "404":
                raise LookupError
            at = epoch_us(row[0]) if row is not None and self.timed else None
            sources.append((str(NAME), at, None if row is None else 3))
            for output, column in self.outputs(lookup).items():
                default = None if row is None and self.policy == "null" else lookup.default_values.get(output)
                stored = None if row is None else row[1][column]
                values[output] = default if stored is None else stored
        return {name: record.get(name, values.get(name)) for name in self.inputs}, sources

    def is_text(self, output: str) -> bool:
        column = next(names[output] for names in map(self.outputs, self.lookups) if output in names)
        return self.types[column] == "string"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=6))
    types = {f"f{number}": kind for number, kind in enumerate(names)}
    timed, width = draw(st.booleans()), draw(st.sampled_from([1, 2]))
    values = st.fixed_dictionaries({name: st.none() | KINDS[kind][0] for name, kind in types.items()})
    days = st.lists(st.integers(0, 6), min_size=1, max_size=3 if timed else 1, unique=True)
    rows = {
        key: [(START + day * DAY, draw(values)) for day in sorted(draw(days), reverse=True)]
        for key in draw(st.lists(st.sampled_from(list(KEYS[width])), min_size=1, unique=True))
    }
    lookups = [draw(lookup(types, width, number)) for number in range(draw(st.integers(1, 2)))]
    case = Case(types, timed, draw(st.sampled_from([0, 1])) * DAY, rows, lookups, [], draw(st.sampled_from(get_args(MissingKeys))))  # fmt: skip
    outputs = [output for each in lookups for output in case.outputs(each)]
    case.inputs = draw(st.lists(st.sampled_from(outputs), min_size=1, unique=True))
    return case


@st.composite
def lookup(draw: st.DrawFn, types: dict[str, str], width: int, number: int) -> FeatureLookup:
    features = draw(st.lists(st.sampled_from(list(types)), min_size=1, unique=True))
    renamed = {name: f"{name}_{number}" for name in features}
    defaulted = draw(st.lists(st.sampled_from(features), unique=True))
    return FeatureLookup(
        str(NAME),
        tuple(f"{column}{number}" for column in KEY_COLUMNS[:width]),
        feature_names=tuple(features),
        rename_outputs=renamed,
        timestamp_lookup_key="t",
        lookback_window=draw(st.sampled_from([None, timedelta(0), DAY, 3 * DAY])),
        default_values={renamed[name]: KINDS[types[name]][1] for name in defaulted},
    )


def records(case: Case) -> st.SearchStrategy[list[dict[str, Any]]]:
    width = len(case.lookups[0].keys)
    parts = [st.sampled_from([1, 2, 3, 2**64 + 1, None]), st.sampled_from(["x", "xx", None])][:width]
    keys = {column: part for each in case.lookups for column, part in zip(each.keys, parts, strict=True)}
    sent = {name: st.none() | (WORDS if case.is_text(name) else st.floats()) for name in case.inputs}
    few, some = st.fixed_dictionaries(keys), st.fixed_dictionaries(keys, optional=sent)
    none = st.fixed_dictionaries(sent, optional=keys)
    return st.lists(few, min_size=1, max_size=4) | st.lists(few | some | none | some.map(without_a_key), max_size=4)


def without_a_key(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "a0"}


def same(one: object, two: object) -> bool:
    return type(one) is type(two) and (one == two or (one != one and two != two))  # noqa: PLR0124 - NaN


def as_input(value: object, *, text: bool, sent: bool) -> object:
    if value is None:
        return None if text or sent else math.nan
    return value if text else float(value)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), case=cases(), day=st.integers(-1, 8))
def test_a_request_gets_what_plain_python_finds(data: st.DataObject, case: Case, day: int) -> None:
    now, shelf, asked = START + day * DAY, case.shelf(), data.draw(records(case))
    spec = FeatureSpec(tuple(case.lookups), None, (), tuple(case.inputs))
    model, features = OnlineLookup(shelf, spec, case.policy), OnlineFeatures(shelf, spec, case.policy)  # type: ignore[arg-type]
    try:
        expected = [case.answer(record, now) for record in asked]
    except LookupError:  # a key is not found, or not sent
        for ask in (model.augment, features.find):
            with pytest.raises((NotFound, InvalidInput)):
                ask(asked, now)
        return
    augmented, found = model.augment(asked, now), features.find(asked, now)
    for record, row, served, (values, sources) in zip(asked, augmented, found, expected, strict=True):
        inputs = [
            as_input(value, text=case.is_text(name), sent=name in record and value is None)
            for name, value in values.items()
        ]
        assert list(map(same, row.inputs, inputs)) == [True] * len(inputs), (row.inputs, inputs)
        assert list(map(same, served.values.values(), values.values())) == [True] * len(values), (served, values)
        assert list(served.values) == case.inputs
        assert list(row.sources) == list(served.sources) == sources
        assert row.keys == served.keys == {c: record.get(c) for each in case.lookups for c in each.keys}
    reader = InputReader([(name, "string" if case.is_text(name) else "double") for name in case.inputs])
    whole = reader.from_values([row.inputs for row in augmented])
    columns = reader.from_columns(augmented.numbers, augmented.others)
    np.testing.assert_array_equal(columns.numbers, whole.numbers)
    assert list(columns.texts) == list(whole.texts)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), case=cases(), days=st.lists(st.integers(-1, 8), min_size=1, max_size=4))
def test_requests_that_are_looked_up_together_get_what_each_gets_alone(
    data: st.DataObject, case: Case, days: list[int]
) -> None:
    asked = [Asked(data.draw(records(case)), START + day * DAY) for day in days]
    spec, shelf = FeatureSpec(tuple(case.lookups), None, (), tuple(case.inputs)), case.shelf()
    model, features = OnlineLookup(shelf, spec, case.policy), OnlineFeatures(shelf, spec, case.policy)  # type: ignore[arg-type]
    try:
        rows = [row for each in asked for row in model.augment(*each)]
        found = [row for each in asked for row in features.find(*each)]
    except (NotFound, InvalidInput):
        for together in (model.augment_all, features.find_all):
            with pytest.raises((NotFound, InvalidInput)):
                together(asked)
        return
    for one, two in zip(rows, model.augment_all(asked), strict=True):
        assert list(map(same, one.inputs, two.inputs)) == [True] * len(case.inputs)
        assert (one.keys, one.sources) == (two.keys, two.sources)
    for kept, each in zip(found, features.find_all(asked), strict=True):
        assert list(map(same, kept.values.values(), each.values.values())) == [True] * len(case.inputs)
        assert (list(kept.values), kept.keys, kept.sources) == (list(each.values), each.keys, each.sources)


def test_a_time_is_exact_where_floats_are_not() -> None:
    """Event times and the time of the question are compared as whole microseconds."""
    at = START + timedelta(microseconds=1)
    lookup_ = FeatureLookup(
        str(NAME), ("a0",), feature_names=("f0",), timestamp_lookup_key="t", lookback_window=timedelta(0)
    )
    case = Case({"f0": "int64"}, True, DAY, {(1,): [(at, {"f0": 5})]}, [lookup_], ["f0"], "default")
    model = OnlineLookup(case.shelf(), FeatureSpec((lookup_,), None, (), ("f0",)))  # type: ignore[arg-type]
    answers = [model.augment([{"a0": 1}], from_epoch_us(epoch_us(at + DAY) + step))[0].inputs for step in (-1, 0, 1)]
    assert answers[1] == (5.0,)
    assert [math.isnan(value) for (value,) in answers if isinstance(value, float)] == [True, False, True]


def test_what_is_published_by_other_rules_is_read_by_them() -> None:
    """Other columns in other places, and another type of key, from one request to the next."""
    one = FeatureLookup(str(NAME), ("k",), feature_names=("f0",))
    spec = FeatureSpec((one,), None, (), ("f0",))
    shelf = Case({"f0": "double"}, False, 0 * DAY, {(1,): [(START, {"f0": 1.5})]}, [one], ["f0"], "default").shelf()
    model = OnlineLookup(shelf, spec)  # type: ignore[arg-type]
    assert model.augment([{"k": 1}], START)[0].inputs == (1.5,)
    row = {"x": "text", "f0": 7}
    later = Case({"x": "string", "f0": "int64"}, True, DAY, {("1",): [(START, row)]}, [one], ["f0"], "default").shelf()
    shelf.known = replace(later.known, types={**later.known.types, "a": "string"})
    shelf.packed = later.packed
    (early,), (found,) = (model.augment([{"k": "1"}], START + day * DAY)[0].inputs for day in (0, 1))
    assert math.isnan(early)  # type: ignore[arg-type]
    assert found == 7.0
    with pytest.raises(InvalidInput, match="key 'k' is not a text"):
        model.augment([{"k": 1}], START + DAY)


SENT = st.tuples(st.integers(-(2**65), 2**65) | st.none(), st.text(max_size=500) | st.none(), st.dates() | st.none())


def plain_code(key: tuple[Any, ...]) -> bytes | None:
    """As `key_bytes.py` says it in words."""
    if None in key:
        return None
    whole = b"".join(map(plain_part, key))
    return whole if len(whole) <= LONGEST_KEY else b"#" + hashlib.sha256(whole).digest()


def plain_part(value: Any) -> bytes:
    if isinstance(value, date):
        return b"d" + ((value - date(1970, 1, 1)).days + 2**63).to_bytes(8, "big")
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return b"i" + (value + 2**63).to_bytes(8, "big")
    mark, content = (b"I", str(value).encode()) if isinstance(value, int) else (b"s", value.encode())
    return mark + len(content).to_bytes(4, "big") + content


@given(rows=st.lists(SENT), width=st.integers(1, 3))
def test_keys_of_a_request_are_encoded_as_they_are_described(rows: list[tuple[Any, ...]], width: int) -> None:
    names, kinds = ("n", "s", "d"), ("int64", "string", "date32[day]")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    for first in range(4 - width):
        part = slice(first, first + width)
        expected = [plain_code(row[part]) for row in rows]
        assert list(KeyCodes(names[part], kinds[part]).of(records)) == expected
        assert [encode_key(row[part]) for row in rows] == expected
