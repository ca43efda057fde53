from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.features.type_names import decimal_scale, float_bits, type_family

_FAMILIES = {
    "integer": [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()],
    "float": [pa.float16(), pa.float32(), pa.float64()],
    "decimal": [pa.decimal32(5, 2), pa.decimal64(12, 0), pa.decimal128(38, 18), pa.decimal256(60, -3)],
    "text": [pa.string(), pa.large_string(), pa.string_view()],
    "binary": [pa.binary(), pa.large_binary(), pa.binary(4)],
    "date": [pa.date32(), pa.date64()],
    "timestamp": [pa.timestamp("s"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "Europe/Berlin")],
    "boolean": [pa.bool_()],
    "null": [pa.null()],
    None: [
        pa.time32("s"),
        pa.time64("ns"),
        pa.duration("us"),
        pa.month_day_nano_interval(),
        pa.binary_view(),
        pa.list_(pa.int64()),
        pa.struct({"integer": pa.int64()}),
        pa.map_(pa.string(), pa.float64()),
        pa.dictionary(pa.int32(), pa.string()),
    ],
}


@pytest.mark.parametrize(
    ("kind", "family"), [(kind, family) for family, kinds in _FAMILIES.items() for kind in kinds], ids=str
)
def test_a_type_is_told_by_its_name(kind: pa.DataType, family: str | None) -> None:
    assert type_family(str(kind)) == family


def test_sizes_are_in_the_names() -> None:
    assert [float_bits(str(kind)) for kind in _FAMILIES["float"]] == [16, 32, 64]
    assert [decimal_scale(str(kind)) for kind in _FAMILIES["decimal"]] == [2, 0, 18, -3]
