from __future__ import annotations

import math
from typing import Any

import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.body import Envelope
from millrace.serving.bodies.csv_body import read_csv
from millrace.serving.bodies.rows import ValueKind
from millrace.serving.inputs import InputReader, split_inputs

READER = InputReader([("amount", "double"), ("items", "long"), ("active", "boolean"), ("region", "string")])
KINDS: dict[str, ValueKind] = {"amount": "number", "items": "whole", "active": "boolean", "region": "text"}


def read(text: str) -> list[list[object]]:
    return split_inputs(READER.read(read_csv(text.encode()).rows.typed(KINDS)), READER.types)


def test_cells_are_what_the_signature_says() -> None:
    text = 'region,items,amount,active,more\n007,3,1e3,True,x\n"a, ""b""",-4,+2.5,false,\n'
    assert read(text) == [[1000.0, 3.0, 1.0, "007"], [2.5, -4.0, 0.0, 'a, "b"']]


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "null", "None", "N/A", "<NA>", "NULL"])
def test_what_is_missing_among_numbers(missing: str) -> None:
    ((amount, *_, region),) = read(f"amount,items,active,region\n{missing},1,0,\n")
    assert isinstance(amount, float)
    assert math.isnan(amount)
    assert region is None


def test_only_an_empty_cell_is_a_missing_text() -> None:
    assert [row[3] for row in read("amount,items,active,region\n1,1,1,NA\n1,1,1,None\n1,1,1,\n")] == [
        "NA",
        "None",
        None,
    ]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("x,1,true,r", "amount"),
        ("1_000,1,true,r", "amount"),
        ("1;5,1,true,r", "amount"),
        ("1,1.5,true,r", "items"),
        ("1,,true,r", "items"),
        ("1,1_0,true,r", "items"),
        ("1,99999999999999999999,true,r", "items"),
        ("1,1,yes,r", "active"),
        ("1,1,2,r", "active"),
        ("1,1,,r", "active"),
    ],
)
def test_a_cell_of_another_type_is_refused_by_its_column(line: str, column: str) -> None:
    with pytest.raises(InvalidInput, match=f"column '{column}' has a value that is not"):
        read(f"amount,items,active,region\n1,1,true,r\n{line}\n")


def test_a_byte_order_mark_line_ends_and_blank_lines() -> None:
    assert read('\ufeffamount,items,active,region\r\n1,1,true,"two\r\nlines"\r\n\r\n2,2,0,x\r\n') == [
        [1.0, 1.0, 1.0, "two\r\nlines"],
        [2.0, 2.0, 0.0, "x"],
    ]


def test_all_numbers_in_another_order_become_a_matrix() -> None:
    rows = read_csv(b"b,more,a\n1,x,2\n,y,4\n").rows.typed({"a": "number", "b": "number"})
    matrix = rows.matrix(["a", "b"])
    assert matrix is not None
    assert repr(matrix.tolist()) == "[[2.0, 1.0], [4.0, nan]]"
    assert rows.matrix(["a", "c"]) is None
    assert rows.matrix(["a", "more"]) is None


def test_columns_of_unknown_type_are_what_they_look_like() -> None:
    (row,) = read_csv(b"a,b,c,d,e\n12345678901234567,1.5,true,x,\n").rows.records(None)
    assert row == {"a": 12345678901234567, "b": 1.5, "c": True, "d": "x", "e": None}


def test_a_key_of_text_keeps_its_zeros() -> None:
    rows = read_csv(b"key,n\n007,1\n").rows
    assert rows.typed({"key": "text"}).first() == {"key": "007", "n": 1}
    assert len(rows) == 1


def test_what_the_envelope_says_is_kept() -> None:
    body = read_csv(b"a\n1\n", Envelope(client_request_id="r", predict_proba=True))
    assert (body.client_request_id, body.predict_proba) == ("r", True)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "the CSV is empty"),
        (b"\n\n", "the CSV is empty"),
        (b"a,b\n", "no rows"),
        (b"a,a\n1,2\n", "names a column twice"),
        (b"a,b\n1\n", "row 0 has 1 values for 2 columns"),
        (b"a,b\n1,2\n1,2,3\n", "row 1 has 3 values for 2 columns"),
        (b'a\n"1\n', "can't be read"),
        (b'a\n"1"2\n', "can't be read"),
        (b"a\n\xff\n", "not UTF-8"),
        (b"a\n" + b"9" * 200_000, "can't be read"),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_csv(raw)


def test_more_digits_than_python_reads() -> None:
    rows: Any = read_csv(b"a\n" + b"9" * 5000 + b"\n").rows
    assert rows.first() == {"a": math.inf}
