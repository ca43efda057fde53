from __future__ import annotations

import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.serving.capture.records import Record, description_payload, read_payload
from millrace.serving.types import Description
from millrace.testing.traffic import Row, kept

INPUTS = (("spend", "double"), ("region", "string"), ("visits", "double"))
CHURN = Description(
    "id/1/churn-1", "ml.logs.churn", "churn", 1, "churn-1", "ml.models.churn", "1", (("id", "int64"),), INPUTS
)
SOURCES = [["ml.features.churn", 1_740_787_200_000_000, 12]]


def read(payload: bytes) -> Record:
    record = read_payload(payload)
    assert isinstance(record, Record)
    return record


def test_a_description_reads_back() -> None:
    assert read_payload(description_payload(CHURN)) == CHURN
    features = replace(CHURN, kind="features", model_version=None, inputs=())
    assert read_payload(description_payload(features)) == features


def test_a_record_reads_back() -> None:
    rows: list[Row] = [
        ([7], [10.5, "north", math.inf], 1, 0.75, SOURCES),
        ([8], [None, None, -0.0], 0, 0.25, []),
    ]
    record = read(kept(CHURN, "r-1", rows, raw=b"\xff\x00raw", body=b"answer", client_request_id="mine"))
    assert (record.id, record.description, record.client_request_id) == ("r-1", CHURN.id, "mine")
    assert (record.status, record.duration_us, record.requester, record.dialect) == (200, 1600, "user:ada", "json")
    assert (record.request, record.response, record.rows) == (b"\xff\x00raw", b"answer", 2)
    assert (record.keys, record.sources) == ([[7], [8]], [SOURCES, []])
    assert (record.labels, record.probabilities) == ([1, 0], [0.75, 0.25])
    spend, visits, missing, zero = struct.unpack("<4d", record.numbers)
    assert (spend, visits, record.texts) == (10.5, math.inf, (["north", None],))
    assert math.isnan(missing)
    assert (zero, math.copysign(1, zero)) == (0, -1)


@settings(max_examples=50, deadline=None)
@given(numbers=st.lists(st.floats(width=64), min_size=1, max_size=20))
def test_inputs_are_kept_bit_by_bit(numbers: list[float]) -> None:
    description = replace(CHURN, keys=(), inputs=(("a", "double"),))
    record = read(kept(description, "r", [([], [number], 1, None, []) for number in numbers]))
    assert record.numbers == struct.pack(f"<{len(numbers)}d", *numbers)
    assert list(record.sources) == [[]] * len(numbers)


def test_an_error_has_no_rows() -> None:
    record = read(kept(CHURN, "r-1", [], status=400, reached=False))
    assert (record.rows, record.reached, record.labels) == (0, False, ())


def test_texts_over_a_megabyte_are_left_out_and_the_rows_stay() -> None:
    rows: list[Row] = [([7], [1.0, "north", 2.0], 1, 0.75, [])]
    just = read(kept(CHURN, "r-1", rows, raw=b"x" * (1 << 20)))
    assert just.request
    over = read(kept(CHURN, "r-2", rows, raw=b"x" * ((1 << 20) + 1), body=b"y" * ((1 << 20) + 1)))
    assert (over.request, over.response, over.rows) == (None, None, 1)
    assert len(over.payload) < 1000


def test_keys_and_labels_that_json_does_not_have() -> None:
    rows: list[Row] = [([b"k", 7], [1.0, "north", 2.0], np.int64(4), np.float64(0.5), [])]
    record = read(kept(CHURN, "r-1", rows))
    assert (record.keys, record.labels, record.probabilities) == ([["b'k'", 7]], [4], [0.5])
    odd: list[Row] = [([2**64, -(2**70), "\ud800"], [1.0, "north", 2.0], 4, 0.5, SOURCES)]
    record = read(kept(CHURN, "r-1", odd))
    assert (record.keys, record.sources) == ([[str(2**64), str(-(2**70)), "?"]], [SOURCES])


@pytest.mark.parametrize("payload", [b"", b"R", b"D{", b"X123", kept(CHURN, "r", [])[:-1]])
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is in the docstring
        read_payload(payload)
    assert isinstance(caught.value, LookupError | TypeError | ValueError | struct.error)
