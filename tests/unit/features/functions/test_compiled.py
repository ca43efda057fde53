from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput, MillraceError, NotFound
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.functions.compiled import CompiledFunction, add_functions, bind_functions, columns_read, needed
from millrace.features.functions.source import define
from millrace.features.functions.values import checked, family, json_value, value_reader
from millrace.features.spec import from_json, to_json
from millrace.features.tables import create_feature_table
from millrace.features.training_set import build_training_set
from millrace.features.types import FeatureFunction, FeatureLookup, FeatureSpec, FunctionVersion
from millrace.lake.lake import Lake

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def ratio(a: float, b: float) -> float:
    return a / b


def share(a: float, b: float | None = None, c: float = 100.0) -> float | None:
    return None if b is None else c * a / b


def day_of(moment: datetime) -> date:
    return moment.date()


def wrong(a: float) -> int:
    return a  # type: ignore[return-value]  # the mistake


def nothing(a: float) -> float:
    return None if a else a  # type: ignore[return-value]  # the mistake


def cents(money: Decimal) -> int:
    return int(money * 100)


def exclaim(text: str) -> str:
    return text + "!"


KNOWN = {each.__name__: define(each.__name__, each) for each in (ratio, share, day_of, wrong, nothing, cents, exclaim)}


def find(name: str) -> FunctionVersion:
    if name not in KNOWN:
        raise NotFound(f"function {name} does not exist", hint="did you mean 'ratio'?")
    return FunctionVersion(KNOWN[name], 3, "", "user:ada", NOW)


REQUEST = pa.table(
    {
        "id": pa.array([1, 2, 3]),
        "a": pa.array([1.0, None, 3.0]),
        "b": pa.array([2, 4, None], pa.int32()),
        "money": pa.array([Decimal("1.50"), None, Decimal("0.01")], pa.decimal128(18, 2)),
        "text": pa.array(["x", None, "y"]).dictionary_encode(),
        "day": pa.array([date(2025, 1, 1)] * 3),
        "at": pa.array([NOW] * 3, pa.timestamp("ns", "Europe/Berlin")),
        "none": pa.nulls(3),
        "label": pa.array([0, 1, 0]),
    }
)


def columns_of(*features: FeatureFunction, table: pa.Table = REQUEST, label: str | None = "label") -> pa.Table:
    return add_functions(table, bind_functions(features, find, table.schema, label=label))


def test_a_null_for_a_parameter_that_takes_none_is_null_without_a_call() -> None:
    made = columns_of(FeatureFunction("ratio", {"a": "a", "b": "b"}))
    assert made.column_names == [*REQUEST.column_names, "ratio"]
    assert made.column("ratio").to_pylist() == [0.5, None, None]
    assert made.select(REQUEST.column_names).equals(REQUEST)


def test_a_parameter_that_takes_null_is_given_it_and_defaults_stand_where_nothing_is_bound() -> None:
    made = columns_of(
        FeatureFunction("share", {"a": "a", "b": "b"}, "percent"),
        FeatureFunction("share", {"a": "a"}, "none_of_it"),
        FeatureFunction("share", {"c": "b", "a": "a"}, "out_of_order"),
        FeatureFunction("share", {"c": "b", "a": "a", "b": "a"}, "per"),
    )
    assert made.column("percent").to_pylist() == [50.0, None, None]
    assert made.column("none_of_it").to_pylist() == [None, None, None]
    assert made.column("out_of_order").to_pylist() == [None, None, None]
    assert made.column("per").to_pylist() == [2.0, None, None]


def test_columns_come_as_their_own_types_whatever_they_are_stored_as() -> None:
    made = columns_of(
        FeatureFunction("cents", {"money": "money"}),
        FeatureFunction("exclaim", {"text": "text"}),
        FeatureFunction("exclaim", {"text": "none"}, "no_text"),
        FeatureFunction("day_of", {"moment": "at"}),
    )
    assert made.column("cents").to_pylist() == [150, None, 1]
    assert made.column("exclaim").to_pylist() == ["x!", None, "y!"]
    assert made.column("no_text").to_pylist() == [None, None, None]
    assert made.column("day_of").to_pylist() == [date(2025, 1, 1)] * 3  # in UTC, though Berlin is ahead
    assert [str(made.schema.field(name).type) for name in ("cents", "exclaim", "day_of")] == [
        "int64",
        "string",
        "date32[day]",
    ]


def test_an_empty_table_and_one_of_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    feature = FeatureFunction("ratio", {"a": "a", "b": "b"})
    empty = columns_of(feature, table=REQUEST.slice(0, 0))
    assert (len(empty), str(empty.schema.field("ratio").type)) == (0, "double")
    monkeypatch.setattr("millrace.features.functions.compiled._ROWS", 2)
    assert columns_of(feature).column("ratio").to_pylist() == [0.5, None, None]
    with pytest.raises(InvalidInput, match="in row 2"):
        columns_of(FeatureFunction("wrong", {"a": "a"}), table=REQUEST.set_column(1, "a", pa.array([None, None, 1.5])))


MISUSE: dict[str, tuple[list[FeatureFunction], type[MillraceError], str, str]] = {
    "unknown function": ([FeatureFunction("ratoi", {})], NotFound, "ratoi does not exist", "ratio"),
    "unknown parameter": (
        [FeatureFunction("ratio", {"a": "a", "bb": "b"})],
        InvalidInput,
        "function default.ratio has no parameter 'bb'",
        "did you mean 'b'?",
    ),
    "missing binding": (
        [FeatureFunction("ratio", {"a": "a"})],
        InvalidInput,
        "parameter 'b' of function default.ratio is not bound",
        'input_bindings={"b": "..."}',
    ),
    "no bindings": ([FeatureFunction("ratio")], InvalidInput, "parameter 'a' of function", "did you mean 'a'?"),
    "unknown column": (
        [FeatureFunction("exclaim", {"text": "txt"})],
        InvalidInput,
        "function default.exclaim reads 'txt', which is missing",
        "did you mean 'text'?",
    ),
    "an int as a date": (
        [FeatureFunction("day_of", {"moment": "b"})],
        InvalidInput,
        "column 'b' is int32, and parameter 'moment' of function default.day_of is datetime",
        "annotate",
    ),
    "money as a float": ([FeatureFunction("wrong", {"a": "money"})], InvalidInput, "is decimal128(18, 2)", "annotate"),
    "a day as a time": ([FeatureFunction("day_of", {"moment": "day"})], InvalidInput, "is date32[day]", "annotate"),
    "a column that is there": (
        [FeatureFunction("ratio", {"a": "a", "b": "b"}, "a")],
        InvalidInput,
        "would make 'a', which is there already",
        "output_name",
    ),
    "the same output twice": (
        [FeatureFunction("ratio", {"a": "a", "b": "b"}), FeatureFunction("ratio", {"a": "b", "b": "a"})],
        InvalidInput,
        "would make 'ratio', which is there already",
        "output_name",
    ),
    "the label as output": (
        [FeatureFunction("ratio", {"a": "a", "b": "b"}, "label")],
        InvalidInput,
        "would make the label 'label'",
        "output_name",
    ),
    "a function of the label": (
        [FeatureFunction("ratio", {"a": "a", "b": "label"})],
        InvalidInput,
        "reads the label 'label'",
        "leaks",
    ),
    "of itself": (
        [FeatureFunction("ratio", {"a": "ratio", "b": "b"})],
        InvalidInput,
        "reads 'ratio', which it makes itself",
        "another column",
    ),
    "in a circle": (
        [
            FeatureFunction("ratio", {"a": "two", "b": "b"}, "one"),
            FeatureFunction("ratio", {"a": "one", "b": "b"}, "two"),
        ],
        InvalidInput,
        "reads 'two', which a later function makes",
        "put that function before it",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_said_with_a_hint(case: str) -> None:
    features, kind, message, hint = MISUSE[case]
    with pytest.raises(kind) as refused:
        columns_of(*features)
    assert message in refused.value.message
    assert hint in refused.value.hint


def test_functions_where_none_are_known_and_two_columns_of_a_name() -> None:
    with pytest.raises(InvalidInput, match="where none are known"):
        bind_functions([FeatureFunction("ratio", {"a": "a", "b": "b"})], None, REQUEST.schema, label=None)
    double = REQUEST.append_column("a", REQUEST.column("a"))
    with pytest.raises(InvalidInput, match="of which there are several"):
        columns_of(FeatureFunction("wrong", {"a": "a"}), table=double)
    with pytest.raises(InvalidInput, match="output_name is empty"):
        FeatureFunction("ratio", {}, "")


@pytest.mark.parametrize(
    ("feature", "values", "message"),
    [
        (FeatureFunction("ratio", {"a": "a", "b": "b"}), {"b": [7, 0, 1]}, "failed in row 1: ZeroDivisionError"),
        (FeatureFunction("wrong", {"a": "a"}), {}, "gave a float in row 0, and promises int"),
        (FeatureFunction("nothing", {"a": "a"}), {}, "gave None in row 0, and promises float"),
    ],
)
def test_a_function_that_fails_is_named_with_its_row_and_without_the_data(
    feature: FeatureFunction, values: dict[str, list[int]], message: str
) -> None:
    table = pa.table({"a": [123.456] * 3, "b": values.get("b", [1, 1, 1])})
    with pytest.raises(InvalidInput) as refused:
        columns_of(feature, table=table)
    assert message in refused.value.message
    assert "123" not in str(refused.value)
    assert refused.value.hint


def test_times_finer_than_microseconds_are_refused() -> None:
    fine = pa.table({"at": pa.array([1], pa.timestamp("ns", "UTC"))})
    with pytest.raises(InvalidInput, match="microseconds can't hold"):
        columns_of(FeatureFunction("day_of", {"moment": "at"}), table=fine)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("float", 3, 3.0),
        ("float", math.inf, math.inf),
        ("int", 2**63 - 1, 2**63 - 1),
        ("str", "é", "é"),
        ("bool", True, True),
        ("date", date(1, 1, 1), date(1, 1, 1)),
        ("datetime", datetime(2025, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), NOW),
        ("datetime", datetime(2025, 1, 1), NOW),  # noqa: DTZ001 - naive is UTC
        ("Decimal", Decimal("1.5"), Decimal("1.500000000000000000")),
        ("Decimal", Decimal("-0.0"), Decimal("0.000000000000000000")),
        ("Decimal", Decimal("1E+3"), Decimal("1000.000000000000000000")),
        (
            "Decimal",
            Decimal("99999999999999999999.000000000000000001"),
            Decimal("99999999999999999999.000000000000000001"),
        ),
    ],
)
def test_a_result_has_one_form(kind: Any, value: object, expected: object) -> None:
    with localcontext(prec=3):  # the user's own has no say
        made = checked(kind, value)
    assert (type(made), repr(made)) == (type(expected), repr(expected))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float", True),
        ("float", "1"),
        ("float", Decimal(1)),
        ("int", 1.0),
        ("int", True),
        ("int", 2**63),
        ("str", 1),
        ("str", "\ud800"),
        ("bool", 1),
        ("date", NOW),
        ("date", "2025-01-01"),
        ("datetime", date(2025, 1, 1)),
        ("Decimal", 1),
        ("Decimal", Decimal("NaN")),
        ("Decimal", Decimal(10) ** 20),
        ("Decimal", Decimal("1E-19")),
        ("float", None),
    ],
)
def test_a_result_of_another_type_or_that_does_not_fit_is_refused(kind: Any, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        checked(kind, value)


@pytest.mark.parametrize(
    ("stored", "value", "expected"),
    [
        ("int32", 5, 5),
        ("int32", 5.0, 5),
        ("double", 5, 5.0),
        ("float", 0.1, 0.10000000149011612),
        ("float", 1e300, math.inf),
        ("halffloat", 0.1, 0.0999755859375),
        ("string", "x", "x"),
        ("bool", False, False),
        ("date32[day]", "2025-01-02", date(2025, 1, 2)),
        ("timestamp[us, tz=UTC]", "2025-01-01T01:00:00+01:00", NOW),
        ("timestamp[us]", "2025-01-01", NOW),
        ("decimal128(18, 2)", "1.5", Decimal("1.50")),
        ("decimal128(18, 2)", 3, Decimal("3.00")),
        ("decimal128(18, 2)", Decimal("1.505"), Decimal("1.505")),
        ("int64", None, None),
    ],
)
def test_a_sent_value_is_read_as_its_column_holds_it(stored: str, value: object, expected: object) -> None:
    read = value_reader("c", stored)(value)
    assert (type(read), repr(read)) == (type(expected), repr(expected))


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ("int32", "5"),
        ("int32", 5.5),
        ("int32", True),
        ("double", "5"),
        ("double", False),
        ("string", 5),
        ("bool", 1),
        ("date32[day]", NOW),
        ("date32[day]", "yesterday"),
        ("timestamp[us, tz=UTC]", 5),
        ("decimal128(18, 2)", 1.5),
        ("decimal128(18, 2)", "much"),
        ("decimal128(18, 2)", "NaN"),
    ],
)
def test_a_sent_value_of_another_type_is_refused_without_the_data(stored: str, value: object) -> None:
    with pytest.raises(InvalidInput, match="column 'c' has a ") as refused:
        value_reader("c", stored)(value)
    assert stored in refused.value.message
    assert refused.value.hint.startswith("send ")
    assert "much" not in str(refused.value)


def test_columns_that_functions_do_not_take() -> None:
    assert family(pa.list_(pa.int64())) is None
    with pytest.raises(InvalidInput, match="can't be given to a function"):
        value_reader("c", "binary")


def test_values_as_json() -> None:
    values = [1, 1.5, math.nan, math.inf, "x", True, None, date(2025, 1, 2), NOW, Decimal("1.50"), b"ab"]
    assert [json_value(value) for value in values] == [
        1, 1.5, None, None, "x", True, None, "2025-01-02", "2025-01-01T00:00:00Z", "1.50", "YWI=",
    ]  # fmt: skip


def test_only_what_something_depends_on_is_needed() -> None:
    features = [
        FeatureFunction("ratio", {"a": "a", "b": "b"}, "one"),
        FeatureFunction("ratio", {"a": "one", "b": "b"}, "two"),
        FeatureFunction("exclaim", {"text": "text"}),
    ]
    bound = bind_functions(features, find, REQUEST.schema, label=None)
    for wanted, given, expected in [
        (["two"], [], ["one", "two"]),
        (["two"], ["one"], ["two"]),
        (["two", "exclaim"], ["two"], ["exclaim"]),
    ]:
        assert [each.output for each in needed(bound, wanted, given)] == expected
    assert columns_read(bound) == ["a", "b", "text"]


def test_a_spec_with_functions_comes_back_exactly_and_one_without_is_as_before() -> None:
    features = [FeatureFunction("share", {"c": "b", "a": "a"}, "s"), FeatureFunction("cents", {"money": "money"})]
    bound = bind_functions(features, find, REQUEST.schema, label="label")
    spec = FeatureSpec((), "label", (), ("s", "cents"), ("a", "b", "money"), bound)
    text = to_json(spec)
    back = from_json(text)
    assert (back, to_json(back)) == (spec, text)
    assert list(back.functions[0].bindings) == ["a", "c"]
    assert back.functions[0].types == {"a": "double", "c": "int32"}
    assert CompiledFunction.of(back.functions[1]).call(["1.5"], 0) == 150
    old = to_json(FeatureSpec((), None, (), ("a",), ("a",)))
    assert '"format":1' in old
    assert "functions" not in old
    assert from_json(old).functions == ()
    broken = text.replace('"entry"', '"entri"')
    with pytest.raises(InvalidInput, match="not a feature spec"):
        from_json(broken)


def test_a_training_set_says_what_code_it_depends_on(lake: Lake, join: DuckDbAsOfJoin) -> None:
    create_feature_table(lake, "f.t", pa.schema([("k", pa.int64()), ("v", pa.float64())]), primary_keys="k")
    features: list[FeatureLookup | FeatureFunction] = [
        FeatureFunction(
            "ratio", {"a": "v", "b": "b"}
        ),  # before the lookup that it reads: order matters among functions
        FeatureLookup("f.t", "id"),
    ]
    made = build_training_set(
        lake, join, REQUEST.select(["id", "b", "label"]), features, "label",
        exclude=["id", "v"], as_of=NOW, functions=find, code={"pipeline": "abc"},
    )  # fmt: skip
    assert made.table.column_names == ["id", "b", "label", "v", "ratio"]
    assert (made.spec.inputs, made.spec.request_columns) == (("b", "ratio"), ("b",))
    assert made.record.code == {"pipeline": "abc", "default.ratio": KNOWN["ratio"].code_hash}
    assert made.record.code_hash is not None
    assert len(made.record.code_hash) == 64
    assert made.features().columns.tolist() == ["b", "ratio"]
    with pytest.raises(InvalidInput, match="the request has no column 'x'"):
        build_training_set(
            lake, join, REQUEST.select(["id"]), [FeatureLookup("f.t", "x")], None, as_of=NOW, functions=find
        )
