from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.json_body import read_json

RECORDS = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]


def rows_of(content: dict[str, Any], columns: tuple[str, ...] | None = ("a", "b")) -> object:
    return read_json(json.dumps(content).encode()).rows.records(columns)


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_records": RECORDS},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [None, "y"]]}},
        {"dataframe_split": {"index": [0, 1], "columns": ["a", "b"], "data": [[1, "x"], [None, "y"]]}},
        {"instances": RECORDS},
        {"instances": [[1, "x"], [None, "y"]]},
        {"inputs": {"a": [1, None], "b": ["x", "y"]}},
        {"inputs": RECORDS},
        {"inputs": [[1, "x"], [None, "y"]]},
    ],
)
def test_all_shapes_read_the_same_rows(content: dict[str, Any]) -> None:
    assert rows_of(content) == RECORDS


def test_a_single_value_is_a_row() -> None:
    assert rows_of({"inputs": {"a": 1, "b": "x"}}) == [{"a": 1, "b": "x"}]


def test_client_request_id_and_params() -> None:
    body = read_json(b'{"instances": [[1]], "client_request_id": "r-1", "params": {"predict_proba": true}}')
    assert (body.client_request_id, body.predict_proba) == ("r-1", True)
    plain = read_json(b'{"instances": [[1]]}')
    assert (plain.client_request_id, plain.predict_proba) == (None, False)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{", "not JSON"),
        (b'{"instances": [[NaN]]}', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "none of the input formats"),
        (b'{"inputs": {"a": 1}, "instances": [[1]]}', "instances and inputs"),
        (b'{"dataframe_records": []}', "no rows"),
        (b'{"dataframe_records": {"a": 1}}', "not a list of objects"),
        (b'{"dataframe_records": [1]}', "not a list of objects"),
        (b'{"dataframe_split": [1]}', "needs columns and data"),
        (b'{"dataframe_split": {"columns": ["a"]}}', "needs columns and data"),
        (b'{"dataframe_split": {"columns": [1], "data": [[1]]}}', "not a list of names"),
        (b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}', "named twice"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [1]}}', "not a list of rows"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}', "row 1 has 2 values for 1 columns"),
        (b'{"instances": "a"}', "instances is neither"),
        (b'{"instances": [[1], {"a": 1}]}', "instances is neither"),
        (b'{"inputs": {"a": [1, 2], "b": [1]}}', "different lengths"),
        (b'{"inputs": {}}', "no rows"),
        (b'{"inputs": 5}', "inputs is neither"),
        (b'{"instances": [[1]], "client_request_id": 3}', "client_request_id"),
        (b'{"instances": [[1]], "params": 3}', "params"),
        (b'{"instances": [[1]], "params": {"predict_proba": 3}}', "predict_proba"),
        (b'{"instances": [[1]], "params": {"predict_prob": true}}', "params has what is not known"),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        read_json(raw)
    assert caught.value.hint


def test_rows_without_names_need_the_models_order() -> None:
    with pytest.raises(InvalidInput, match="no column names"):
        rows_of({"instances": [[1, 2]]}, None)
    with pytest.raises(InvalidInput, match="row 0 has 2 values for 3 columns"):
        rows_of({"instances": [[1, 2]]}, ("a", "b", "c"))


_VALUE = "4929-1111-2222"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(_VALUE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "columns", "data"]), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"]), content=_JSON)
def test_any_content_is_read_or_refused_without_repeating_it(name: str, content: object) -> None:
    try:
        rows = read_json(json.dumps({name: content}).encode()).rows.records(("a",))
    except InvalidInput as error:
        said = str(error)
    else:
        assert rows
        assert all(isinstance(row, dict) for row in rows)
        said = ""
    assert _VALUE not in said
