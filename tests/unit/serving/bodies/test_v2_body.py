from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.body import Body, Envelope, Origin
from millrace.serving.bodies.v2_body import error_v2, read_v2, write_v2
from millrace.serving.inputs import InputReader, split_inputs

READER = InputReader([("amount", "double"), ("items", "long"), ("active", "boolean"), ("region", "string")])
NUMBERS = InputReader([("a", "double"), ("b", "double"), ("c", "double")])
ONE = {"name": "a", "shape": [1], "datatype": "FP64", "data": [1.5]}


def tensor(name: str, datatype: str, data: list[Any], shape: list[Any] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def ask(*tensors: Any, **more: Any) -> Body:
    return read_v2(json.dumps({"inputs": list(tensors), **more}).encode())


def test_a_tensor_for_each_column() -> None:
    body = ask(
        tensor("region", "BYTES", ["north", None]),
        tensor("more", "FP64", [0, 0]),
        tensor("items", "INT64", [[3], [-4]], [2, 1]),
        tensor("active", "BOOL", [True, False]),
        tensor("amount", "FP64", [1, None], [2, 1]),
    )
    assert (
        repr(split_inputs(READER.read(body.rows), READER.types)) == "[[1.0, 3.0, 1.0, 'north'], [nan, -4.0, 0.0, None]]"
    )


@pytest.mark.parametrize("data", [[1, 2, None, 4, 5, 6], [[1, 2, None], [4, 5, 6]]])
def test_one_tensor_in_the_order_of_the_signature(data: list[Any]) -> None:
    rows = ask(tensor("input-0", "FP64", data, [2, 3])).rows
    np.testing.assert_array_equal(NUMBERS.read(rows).numbers, [[1, 2, np.nan], [4, 5, 6]])
    assert rows.first() is None


@pytest.mark.parametrize(
    ("datatype", "sent", "read"),
    [
        ("FP64", [0.1, 2], [0.1, 2.0]),
        ("FP32", [0.1, 1e300], [float(np.float32(0.1)), np.inf]),
        ("FP16", [0.1, 2.0], [float(np.float16(0.1)), 2.0]),
        ("INT8", [-128, 127], [-128, 127]),
        ("UINT8", [0, 255], [0, 255]),
        ("INT16", [-5, 5], [-5, 5]),
        ("UINT16", [1, 65535], [1, 65535]),
        ("INT32", [-(2**31), 5], [-(2**31), 5]),
        ("UINT32", [2**32 - 1, 5], [2**32 - 1, 5]),
        ("INT64", [2**53 + 1, 5], [2**53 + 1, 5]),
        ("UINT64", [2**64 - 1, 5], [2**64 - 1, 5]),
        ("BOOL", [True, False], [True, False]),
        ("BYTES", ["a", None], ["a", None]),
    ],
)
def test_values_are_what_their_datatype_holds(datatype: str, sent: list[Any], read: list[Any]) -> None:
    assert [row["a"] for row in ask(tensor("a", datatype, sent)).rows.records(None)] == read


def test_id_probabilities_and_outputs() -> None:
    assert ask(ONE) == read_v2(json.dumps({"inputs": [ONE], "parameters": {"content_type": "np"}}).encode())
    assert ask(ONE, id="r-1").client_request_id == "r-1"
    assert ask(ONE, parameters={"predict_proba": True}).predict_proba
    asked = ask(ONE, outputs=[{"name": "predict_proba"}, {"name": "predict", "parameters": {}}])
    assert (asked.predict_proba, asked.outputs) == (True, ("predict_proba", "predict"))
    assert read_v2(json.dumps({"inputs": [ONE]}).encode(), Envelope(predict_proba=True)).predict_proba


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "not a JSON object"),
        ({}, "inputs is not a list of tensors"),
        ({"inputs": []}, "inputs is not a list of tensors"),
        ({"inputs": [1]}, "inputs is not a list of tensors"),
        ({"inputs": [{**ONE, "name": 3}]}, r"inputs\[0\] has no name"),
        ({"inputs": [{**ONE, "shape": [1.0]}]}, r"inputs\[0\]: shape is not"),
        ({"inputs": [{**ONE, "shape": [0], "data": []}]}, r"inputs\[0\]: shape is not"),
        ({"inputs": [{**ONE, "shape": [True]}]}, r"inputs\[0\]: shape is not"),
        ({"inputs": [{**ONE, "shape": []}]}, r"inputs\[0\] has 0 dimensions"),
        ({"inputs": [{**ONE, "shape": [1, 1, 1]}]}, r"inputs\[0\] has 3 dimensions"),
        ({"inputs": [{**ONE, "datatype": "DECIMAL"}]}, r"inputs\[0\] has no known datatype"),
        ({"inputs": [{**ONE, "datatype": ["FP64"]}]}, r"inputs\[0\] has no known datatype"),
        ({"inputs": [{"name": "a", "shape": [1], "datatype": "FP64"}]}, r"inputs\[0\] has no data"),
        ({"inputs": [{**ONE, "shape": [2]}]}, r"inputs\[0\]: data does not fit"),
        ({"inputs": [{**ONE, "shape": [9223372036854775807]}]}, r"inputs\[0\]: data does not fit"),
        ({"inputs": [ONE, {**ONE, "shape": [2, 2], "data": [[1, 2], [3]]}]}, r"inputs\[1\]: data does not fit"),
        ({"inputs": [{**ONE, "shape": [2, 1], "data": [[1], 2]}]}, r"inputs\[0\] has a value that is no FP64"),
        ({"inputs": [{**ONE, "data": ["c-77"]}]}, r"inputs\[0\] has a value that is no FP64"),
        ({"inputs": [{**ONE, "data": [True]}]}, r"inputs\[0\] has a value that is no FP64"),
        ({"inputs": [{**ONE, "datatype": "INT8", "data": [128]}]}, r"inputs\[0\] has a value that is no INT8"),
        ({"inputs": [{**ONE, "datatype": "UINT64", "data": [-1]}]}, r"inputs\[0\] has a value that is no UINT64"),
        ({"inputs": [{**ONE, "datatype": "INT64", "data": [None]}]}, r"inputs\[0\] has a value that is no INT64"),
        ({"inputs": [{**ONE, "datatype": "BOOL", "data": [1]}]}, r"inputs\[0\] has a value that is no BOOL"),
        ({"inputs": [{**ONE, "datatype": "BYTES", "data": [1]}]}, r"inputs\[0\] has a value that is no BYTES"),
        ({"inputs": [ONE, ONE]}, "two inputs have one name"),
        ({"inputs": [ONE, tensor("b", "FP64", [1, 2])]}, "not of one length"),
        ({"inputs": [ONE, tensor("b", "FP64", [1, 2], [1, 2])]}, "not of one length"),
        ({"inputs": [ONE], "outputs": "predict"}, "outputs is not a list"),
        ({"inputs": [ONE], "outputs": [{"name": "predict"}, {"name": "predict"}]}, "outputs is not a list"),
        ({"inputs": [ONE], "outputs": [{}]}, "outputs is not a list"),
        ({"inputs": [ONE], "parameters": 3}, "parameters is not an object"),
        ({"inputs": [ONE], "parameters": {"predict_proba": "c-77"}}, "neither true nor false"),
        ({"inputs": [ONE], "id": 3}, "id is not text"),
    ],
)
def test_what_is_wrong_is_said_by_place(content: object, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        read_v2(json.dumps(content).encode())
    assert "c-77" not in str(caught.value)


def answered(content: dict[str, Any], body: Body | None = None, version: str | None = "3") -> Any:
    return json.loads(write_v2(content, body or ask(ONE), Origin("churn", version)))


def test_answers_are_tensors() -> None:
    told = answered({"predictions": [0, 1], "probabilities": [0.25, 0.75]}, ask(ONE, id="r-1"))
    assert told == {
        "model_name": "churn",
        "model_version": "3",
        "id": "r-1",
        "outputs": [
            {"name": "predict", "shape": [2], "datatype": "INT64", "data": [0, 1]},
            {"name": "predict_proba", "shape": [2], "datatype": "FP64", "data": [0.25, 0.75]},
        ],
    }
    only = answered({"predictions": [0], "probabilities": [0.25]}, ask(ONE, outputs=[{"name": "predict_proba"}]))
    assert [output["name"] for output in only["outputs"]] == ["predict_proba"]


def test_an_output_that_there_is_not() -> None:
    with pytest.raises(
        InvalidInput, match=r"does not give\n  hint: there is: predict \(and predict_proba, of a classifier\)"
    ) as caught:
        answered({"predictions": [0]}, ask(ONE, outputs=[{"name": "c-77"}]))
    assert "c-77" not in str(caught.value)
    with pytest.raises(InvalidInput, match=r"there is: spend$"):
        answered({"outputs": [{"spend": 1.5}]}, ask(ONE, outputs=[{"name": "predict"}]))


@pytest.mark.parametrize(
    ("values", "datatype", "shape", "data"),
    [
        ([1.5, 2], "FP64", [2], [1.5, 2]),
        ([True, None], "BOOL", [2], [True, None]),
        (["x", None], "BYTES", [2], ["x", None]),
        ([None], "BYTES", [1], [None]),
        ([[0.5, 0.5], [0.25, 0.75]], "FP64", [2, 2], [0.5, 0.5, 0.25, 0.75]),
        ([[1], [1, 2]], "BYTES", [2], ["[1]", "[1,2]"]),
        ([1, "x"], "BYTES", [2], ["1", "x"]),
    ],
)
def test_each_type_of_answer(values: list[Any], datatype: str, shape: list[int], data: list[Any]) -> None:
    (output,) = answered({"predictions": values})["outputs"]
    assert output == {"name": "predict", "shape": shape, "datatype": datatype, "data": data}


def test_features_are_a_tensor_each() -> None:
    told = answered({"outputs": [{"spend": 1.5, "city": "x"}, {"spend": None, "city": "y"}]}, version=None)
    assert told == {
        "model_name": "churn",
        "outputs": [
            {"name": "spend", "shape": [2], "datatype": "FP64", "data": [1.5, None]},
            {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]},
        ],
    }


def test_errors_have_the_protocols_shape() -> None:
    assert json.loads(error_v2("BAD_REQUEST", "no")) == {"error": "no"}
