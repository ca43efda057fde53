from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from millrace.core.errors import InvalidInput
from millrace.features.spec import from_json, to_json
from millrace.features.types import FeatureLookup, FeatureSpec

SPEC = FeatureSpec(
    lookups=(
        FeatureLookup(
            "ml.features.customers",
            ("customer_id",),
            ("spend", "region"),
            rename_outputs={"spend": "total"},
            timestamp_lookup_key="at",
            lookback_window=timedelta(days=400, microseconds=1),
            default_values={
                "total": Decimal("0.00"),
                "region": "none",
                "a": 0.1,
                "b": True,
                "c": date(2025, 3, 1),
                "d": datetime(2025, 3, 1, 6, 0, 0, 1, tzinfo=UTC),
                "e": datetime(2025, 3, 1, 6),  # noqa: DTZ001 - a column without a zone
                "f": b"\x00",
                "g": 7,
            },
        ),
        FeatureLookup("bronze.regions", ("region", "day")),
    ),
    label="churned",
    exclude=("customer_id", "at"),
    inputs=("total", "region", "extra"),
    request_columns=("extra",),
)


def test_a_spec_comes_back_exactly() -> None:
    back = from_json(to_json(SPEC))
    assert back == SPEC
    for before, after in zip(SPEC.lookups, back.lookups, strict=True):
        kinds = {name: type(value) for name, value in before.default_values.items()}
        assert {name: type(value) for name, value in after.default_values.items()} == kinds
    assert str(back.lookups[0].default_values["total"]) == "0.00"
    assert to_json(back) == to_json(SPEC)


def test_numbers_that_json_lacks() -> None:
    lookup = FeatureLookup("t", "k", default_values={"x": math.inf, "y": math.nan})
    back = from_json(to_json(FeatureSpec((lookup,), None, (), ("x", "y"))))
    assert back.lookups[0].default_values["x"] == math.inf
    assert math.isnan(back.lookups[0].default_values["y"])  # type: ignore[arg-type]


def test_one_key_is_a_key_of_one() -> None:
    back = from_json(to_json(FeatureSpec((FeatureLookup("t", "k"),), None, (), ())))
    assert back.lookups[0].keys == ("k",)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format":1}', '{"format":1,"lookups":[{"table_name":"t"}]}', "null"]
)
def test_what_is_not_a_spec(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a feature spec"):
        from_json(text)


def test_a_newer_format_says_so() -> None:
    with pytest.raises(InvalidInput, match="format 99, newer"):
        from_json(json.dumps(json.loads(to_json(SPEC)) | {"format": 99}))


def test_a_default_that_can_not_be_stored() -> None:
    lookup = FeatureLookup("t", "k", default_values={"x": [1]})
    with pytest.raises(InvalidInput, match="of type list"):
        to_json(FeatureSpec((lookup,), None, (), ()))
