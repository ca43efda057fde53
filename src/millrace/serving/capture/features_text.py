"""What models were given and what they thought, of many records at once; and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import orjson

from millrace.core.clock import from_epoch_us, iso
from millrace.serving.capture.records import Record
from millrace.serving.inputs import Inputs, split_inputs
from millrace.serving.types import Description

# Rows: as Python's objects their values take many times the room that they have in a matrix.
_AT_ONCE = 256


def features_texts(description: Description, records: Sequence[Record]) -> list[str]:
    """JSON a record: for each row of the request the inputs by name, the probability, and where the looked-up ones came from.

    Where features were served, only the last: the response has the features.

    Raises:
        ValueError: as `inputs_of`.
    """
    rows = _features(description, records)
    return [orjson.dumps([*islice(rows, len(record.sources))]).decode() for record in records]


def inputs_of(description: Description, records: Sequence[Record]) -> Inputs:
    """What the model was given in all these records, row after row.

    Raises:
        ValueError: a record has other inputs than the description, or not what there is of each of its rows.
    """
    kinds = [kind for _, kind in description.inputs]
    width, texts = kinds.count("double"), kinds.count("string")
    numbers = np.frombuffer(b"".join([record.numbers for record in records]), np.float64)
    row_bytes = width * numbers.itemsize
    for record in records:
        rows, given = record.rows, record.probabilities
        if (
            len(record.numbers) != rows * row_bytes
            or len(record.texts) != texts
            or (texts and {*map(len, record.texts)} != {rows})
            or len(record.sources) != rows
            or (given is not None and len(given) != rows)
        ):
            raise ValueError("the record does not fit its description")
    return Inputs(
        numbers.reshape(sum(record.rows for record in records), width),
        tuple([text for record in records for text in record.texts[place]] for place in range(texts)),
    )


def probabilities(records: Sequence[Record]) -> list[object]:
    """One number a row: of the second of two classes; where there are more, of the one that was predicted, the likeliest."""
    given = [[None] * each.rows if each.probabilities is None else each.probabilities for each in records]
    return [max(one) if isinstance(one, list) else one for each in given for one in each]  # lists come of JSON


def sources_of(records: Sequence[Record]) -> Iterator[tuple[tuple[Any, ...], ...]]:
    """Where the looked-up features of each row came from."""
    return (tuple(map(tuple, row)) for record in records for row in record.sources)


def sources_text(sources: tuple[tuple[Any, ...], ...]) -> str:
    """JSON: which row of which version each looked-up feature came from."""
    return orjson.dumps(_sources(sources)).decode()


def _features(description: Description, records: Sequence[Record]) -> Iterator[dict[str, object]]:
    sources = map(_sources, sources_of(records))
    if description.kind == "features":
        return ({"sources": looked_up} for looked_up in sources)
    names = [name for name, _ in description.inputs]
    answered = [record for record in records if record.rows]
    rows = zip(_values(description, answered), probabilities(answered), sources, strict=True)
    return (
        # Not strict: that takes half as long again, and the values are known to be as many.
        {"inputs": dict(zip(names, values)), "probability": probability, "sources": looked_up}  # noqa: B905
        for values, probability, looked_up in rows
    )


def _values(description: Description, records: Sequence[Record]) -> Iterator[list[object]]:
    """The inputs of each row, in the description's order."""
    inputs = inputs_of(description, records)
    for first in range(0, len(inputs), _AT_ONCE):
        yield from split_inputs(inputs.slice(first, first + _AT_ONCE), description.inputs)


# The same few stand in many rows, and nobody changes what is given.
@lru_cache(maxsize=1024)
def _sources(sources: tuple[tuple[Any, ...], ...]) -> list[dict[str, object]]:
    return [
        {"table": table, "event_time": None if at is None else _time(at), "version": version}
        for table, at, version in sources
    ]


@lru_cache(maxsize=4096)
def _time(at_us: int) -> str:
    return iso(from_epoch_us(at_us))
