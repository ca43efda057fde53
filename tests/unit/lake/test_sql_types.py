from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput
from millrace.lake.sql_types import parse_type, type_name


@pytest.mark.parametrize(
    ("text", "arrow"),
    [
        ("bigint", pa.int64()),
        (" LONG ", pa.int64()),
        ("integer", pa.int32()),
        ("bool", pa.bool_()),
        ("text", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("Decimal( 18 , 2 )", pa.decimal128(18, 2)),
    ],
)
def test_sql_names_are_arrow_types(text: str, arrow: pa.DataType) -> None:
    assert parse_type(text) == arrow


@pytest.mark.parametrize("name", ["tinyint", "int", "double", "date", "binary", "decimal(38,0)", "timestamp"])
def test_a_name_is_its_types_name(name: str) -> None:
    assert type_name(parse_type(name)) == name


def test_nested_types_have_names() -> None:
    part = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
    assert type_name(part) == "struct<a:int,b:array<string>>"
    assert type_name(pa.map_(pa.string(), pa.float64())) == "map<string,double>"
    assert type_name(pa.duration("s")) == "duration[s]"


@pytest.mark.parametrize(
    ("text", "hint"),
    [("decimal(39,2)", "38"), ("decimal(2,3)", "s <= p"), ("bigit", "did you mean 'bigint'"), ("", "there is")],
)
def test_what_is_no_type_is_refused_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_type(text)
    assert hint in refused.value.hint
