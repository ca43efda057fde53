"""Records of all kinds in one part: each ends in the rows that it would have by itself."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.serving.capture.inference_tables import payload_table, predictions_schema, predictions_table
from millrace.serving.capture.records import Record, Request, read_payload, record_payload
from millrace.serving.port import Captured, Reply
from millrace.serving.types import Description
from millrace.testing.traffic import AT_US, kept

KEYS = (("customer_id", "int64"),)
INPUTS = (("spend", "double"), ('50% "off"', "string"), ("visits", "double"), ("region", "string"))
CHURN = Description("e/1/c", "ml.logs.churn", "churn", 1, "c", "ml.models.churn", "1", KEYS, INPUTS)
SPEC = replace(CHURN, kind="features", model_version=None, inputs=())
LONG = b"x" * ((1 << 20) + 1)
# Microseconds, and as they are written.
TIMES = {None: None, 1_740_787_200_000_000: "2025-03-01T00:00:00Z", 0: "1970-01-01T00:00:00Z"}

numbers = st.none() | st.floats()
words = st.none() | st.text(max_size=5)
keys = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**63, True, "7"]))
sources = st.lists(
    st.tuples(st.sampled_from(["t", "u"]), st.sampled_from(list(TIMES)), st.none() | st.integers(0, 9)), max_size=2
)
labels = st.one_of(
    st.integers(0, 3), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["stays", "goes"])
)
probabilities = st.floats(0, 1) | st.lists(st.floats(0, 1), min_size=2, max_size=3)


@dataclass(frozen=True)
class Sent:
    """A request, as it was sent and answered; a row has its key, inputs, label, probability, and sources."""

    rows: list[tuple[Any, list[Any], Any, Any, list[Any]]]
    raw: bytes | None
    dialect: str
    body: bytes
    client: str | None
    at_us: int
    duration_us: int
    reached: bool
    certain: bool

    @property
    def status(self) -> int:
        return 200 if self.rows else 400


row = st.tuples(keys, st.tuples(numbers, words, numbers, words).map(list), labels, probabilities, sources)
sent = st.builds(
    Sent,
    rows=st.lists(row, max_size=3) | st.lists(row, min_size=1, max_size=1),
    raw=st.sampled_from([b"{}", "é".encode(), b"\xff\x00", b"", None, LONG]),
    dialect=st.sampled_from(["json", "json", "csv", "parquet"]),
    body=st.sampled_from([b'{"predictions":[1]}', b"\xfe", LONG]),
    client=st.none() | st.just("mine"),
    at_us=st.integers(AT_US, AT_US + 10**12),
    duration_us=st.integers(0, 10**9),
    reached=st.booleans(),
    certain=st.booleans(),
)


def record(each: Sent, number: int) -> Record:
    rows = [
        ((key,), given, label, None if each.certain else chance, found)
        for key, given, label, chance, found in each.rows
    ]
    payload = kept(
        CHURN,
        f"r-{number}",
        rows,
        raw=each.raw,
        dialect=each.dialect,
        body=each.body,
        status=each.status,
        client_request_id=each.client,
        at_us=each.at_us,
        duration_us=each.duration_us,
        reached=each.reached,
    )
    return cast("Record", read_payload(payload))


def number_of(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def chance_of(each: Sent, chance: Any) -> float | None:
    if each.certain:
        return None
    return max(chance) if isinstance(chance, list) else cast("float", chance)


def looked_up(found: list[Any]) -> list[dict[str, Any]]:
    return [{"table": table, "event_time": TIMES[at], "version": version} for table, at, version in found]


def features_of(each: Sent) -> list[dict[str, Any]]:
    return [
        {
            "inputs": {
                name: finite(value) if kind == "double" else value
                for (name, kind), value in zip(INPUTS, given, strict=True)
            },
            "probability": chance_of(each, chance),
            "sources": looked_up(found),
        }
        for _, given, _, chance, found in each.rows
    ]


def text_of(raw: bytes | None) -> str | None:
    return None if raw is None or len(raw) > 1 << 20 else raw.decode(errors="replace")


def payload_row(each: Sent, number: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(0, ZoneInfo("UTC")) + timedelta(microseconds=each.at_us)
    too_long, binary = each.raw in (None, LONG), each.dialect == "parquet"  # of which none here can be read
    codes = ["MAX_REQUEST_SIZE_EXCEEDED"] * too_long + ["REQUEST_NOT_TEXT"] * (binary and not too_long)
    return {
        "databricks_request_id": f"r-{number}",
        "request_date": date(at.year, at.month, at.day),
        "client_request_id": each.client,
        "request_time": at,
        "status_code": each.status,
        "sampling_fraction": 1.0,
        "execution_duration_ms": round(each.duration_us / 1000),
        "request": None if binary else text_of(each.raw),
        "response": text_of(each.body),
        "logging_error_codes": codes + ["MAX_RESPONSE_SIZE_EXCEEDED"] * (each.body == LONG),
        "served_entity_id": "c" if each.reached else None,
        "requester": "user:ada",
        "request_metadata": [
            ("endpoint_name", "churn"),
            ("endpoint_generation", "1"),
            ("model_name", "ml.models.churn"),
            ("model_version", "1"),
        ],
        "execution_duration_us": each.duration_us,
    }


def prediction_rows(each: Sent, number: int, *, texts: bool) -> list[dict[str, Any]]:
    at = datetime.fromtimestamp(0, ZoneInfo("UTC")) + timedelta(microseconds=each.at_us)
    return [
        {
            "request_id": f"r-{number}",
            "row": place,
            "timestamp": at,
            "client_request_id": each.client,
            "endpoint": "churn",
            "model_name": "ml.models.churn",
            "model_version": "1",
            "customer_id": key if type(key) is int and key < 2**63 else None,
            **{
                name: number_of(value) if kind == "double" else value
                for (name, kind), value in zip(INPUTS, given, strict=True)
            },
            "prediction": str(label) if texts else float(label),
            "probability": chance_of(each, chance),
            "actual_label": None,
            "label_time": None,
            "features": looked_up(found),
        }
        for place, (key, given, label, chance, found) in enumerate(each.rows)
    ]


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(sent, min_size=1, max_size=8))
def test_each_record_has_the_payload_row_that_it_would_have_by_itself(requests: list[Sent]) -> None:
    made = payload_table(CHURN, [record(each, number) for number, each in enumerate(requests)]).to_pylist()
    features = [json.loads(one.pop("features")) for one in made]
    assert made == [payload_row(each, number) for number, each in enumerate(requests)]
    assert repr(features) == repr([features_of(each) for each in requests])  # which tells 0.0 from -0.0


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(sent, min_size=1, max_size=8))
def test_each_record_has_the_prediction_rows_that_it_would_have_by_itself(requests: list[Sent]) -> None:
    records = [record(each, number) for number, each in enumerate(requests)]
    made = predictions_table(predictions_schema(CHURN, records), CHURN, records).to_pylist()
    for one in made:
        one["features"] = json.loads(one["features"])
    texts = any(isinstance(label, str) for each in requests for _, _, label, _, _ in each.rows)
    wanted = [row for number, each in enumerate(requests) for row in prediction_rows(each, number, texts=texts)]
    assert repr(made) == repr(wanted)


def served_features(number: int, captured: Captured, key: bytes | None) -> Record:
    served: Any = SimpleNamespace(description=SPEC)
    answered: Any = SimpleNamespace(captured=lambda: captured)
    reply = Reply(200, b"{}", served, True, None, answered, key)
    payload = record_payload(reply, Request(f"r-{number}", b"{}", "json", AT_US, "user:ada"), 1600)
    return cast("Record", read_payload(b"".join(payload)))


@settings(max_examples=50, deadline=None)
@given(requests=st.lists(st.lists(sources, min_size=1, max_size=3), min_size=1, max_size=5))
def test_served_features_leave_where_they_came_from(requests: list[list[list[Any]]]) -> None:
    captured = [Captured([(7,)] * len(found), found) for found in requests]
    records = [served_features(number, each, b"k" if number % 2 else None) for number, each in enumerate(captured)]
    made = payload_table(SPEC, records)
    features = [[{"sources": looked_up(row)} for row in found] for found in requests]
    assert [json.loads(text) for text in made.column("features").to_pylist()] == features
    facts = [("endpoint_name", "churn"), ("endpoint_generation", "1"), ("feature_spec", "ml.models.churn")]
    # A digest: of eight bytes, by BLAKE2b.
    assert made.column("request_metadata").to_pylist() == [
        [*facts, ("caller", "ac52cb5ff985d463")] if number % 2 else facts for number in range(len(requests))
    ]
