"""Splitting a training set: by time, by group, at random. Each part is a training set and says how it was taken.

Rows keep their order in every part, and no row is in two parts. Splits are pure: the same rows, arguments and seed give
the same parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from millrace.core.clock import epoch_us, from_epoch_us, iso, utc
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.features.identity import MICROSECOND, group_ids, key_column, key_family, question_us
from millrace.features.training_set import TrainingSet

_PARTS = {2: ("train", "test"), 3: ("train", "validation", "test")}
_WORD_BITS = 64
_ROUNDING = 1e-9  # 1 - 0.2 - 0.1 is a little less than 0.7: the row at the border is meant

Share = float | tuple[float, float]
Reach = float | timedelta | tuple[float, float] | tuple[timedelta, timedelta]


def split_by_time(
    whole: TrainingSet,
    *,
    time: str | None = None,
    at: datetime | tuple[datetime, datetime] | None = None,
    last: Reach | None = None,
    known_after: timedelta = timedelta(0),
) -> tuple[TrainingSet, ...]:
    """Earlier rows train, later ones judge: two parts, or three where `at` or `last` has two values.

    A row belongs to the part in which its time lies; one exactly at a border is in the later part. A row whose label
    becomes known only after its part's end is in no part: when the later part begins, nobody could have trained on it.

    Args:
        whole: what is split.
        time: the column with each row's time; None is the one that all lookups ask by.
        at: where the later part begins; two for validation and test.
        last: instead of `at`, how much is in the later part: a share of the rows (rows of one time stay together, so it
            may be a little more), or a time back from the newest row; two for validation and test.
        known_after: how long after its time a row's label is known.

    Raises:
        InvalidInput: no such column or a null in it, both or neither of `at` and `last`, or an empty part.
    """
    column = time or _asked_by(whole)
    us = _times(whole, column)
    if (at is None) == (last is None):
        raise InvalidInput("give at or last, one of the two", hint="at=datetime(2025, 3, 1), or last=0.2")
    if known_after < timedelta(0):
        raise InvalidInput("known_after is negative", hint="a label is known at its time or later")
    borders = _given(at) if at is not None else _reached(us, last)
    part = np.searchsorted(borders, us, side="right")
    ends = np.append(borders, np.iinfo(np.int64).max)[part]
    part = np.where((part < len(borders)) & (us > ends - known_after // MICROSECOND), -1, part)
    facts = {
        "by": "time",
        "column": column,
        "at": [iso(from_epoch_us(int(border))) for border in borders],
        "known_after_s": known_after.total_seconds(),
    }
    return _parts(whole, part, len(borders) + 1, facts)


def split_by_group(
    whole: TrainingSet, *, group: str | Sequence[str], test: Share = 0.2, seed: int = 0
) -> tuple[TrainingSet, ...]:
    """All rows of a group (a customer, a household) are in one part: two parts, or three where `test` has two values.

    Which part is decided by a hash of the group's value and the seed alone: rows that come later never move a group, and
    a share is met about as well as drawing that many groups meets it. Null is a group of its own.

    Args:
        whole: what is split.
        group: the column, or columns, that name the group: of a type that can be a key.
        test: the share of groups in the test part, or those of validation and test.
        seed: another seed, another choice.

    Raises:
        InvalidInput: no such column, one that can't be a key, shares that leave nothing to train, or an empty part.
    """
    columns = (group,) if isinstance(group, str) else tuple(group)
    shares = _shares(test)
    part = _by_bounds(_group_places(whole, columns, seed), shares)
    return _parts(
        whole, part, len(shares) + 1, {"by": "group", "columns": list(columns), "shares": shares, "seed": seed}
    )


def split_at_random(
    whole: TrainingSet, *, test: Share = 0.2, seed: int = 0, stratify: bool = False
) -> tuple[TrainingSet, ...]:
    """Rows are drawn without replacement: two parts, or three where `test` has two values.

    Rows of one key, and of one time, come to both sides: what a model has learned about a customer then helps it with
    the same customer. The record says so where the set has keys; split by group or by time to judge a model.

    Args:
        whole: what is split.
        test: the share of rows in the test part, or those of validation and test; exact to the row.
        seed: another seed, another draw.
        stratify: draw from each label value on its own, so that every part has them in the same proportion.

    Raises:
        InvalidInput: shares that leave nothing to train, an empty part, or `stratify` without a label.
    """
    shares = _shares(test)
    draw = np.random.default_rng(seed)
    part = np.zeros(len(whole.table), dtype=np.int64)
    for rows in _strata(whole, stratify=stratify):
        shuffled = draw.permutation(rows)
        ends = np.round(np.cumsum(shares[::-1]) * len(rows)).astype(np.int64)  # test first, then validation
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            part[shuffled[start:end]] = len(shares) - number
    facts = {"by": "random", "shares": shares, "seed": seed, "stratified": stratify}
    return _parts(whole, part, len(shares) + 1, facts, _doubt(whole, part))


def _parts(
    whole: TrainingSet, part: np.ndarray, count: int, facts: Mapping[str, object], warnings: Sequence[str] = ()
) -> tuple[TrainingSet, ...]:
    names = _PARTS[count]
    about = {**facts, "of": whole.record.fingerprint, "rows": len(part), "left_out": int((part < 0).sum())}
    if whole.record.split:
        about["after"] = dict(whole.record.split)
    found = []
    for number, name in enumerate(names):
        rows = whole.where(part == number)
        if not len(rows.table):
            raise InvalidInput(
                f"the {name} part of {len(part)} rows is empty",
                hint="choose another border, another share, or more rows",
                part=name,
                left_out=about["left_out"],
            )
        record = replace(rows.record, split={**about, "part": name}, warnings=(*rows.record.warnings, *warnings))
        found.append(replace(rows, record=record))
    return tuple(found)


def _asked_by(whole: TrainingSet) -> str:
    times = {lookup.timestamp_lookup_key for lookup in whole.spec.lookups} - {None}
    if len(times) != 1:
        raise InvalidInput(
            "which column has each row's time is not clear" if times else "no lookup asks by time",
            hint="name it: split_by_time(time=...)",
        )
    return str(times.pop())


def _times(whole: TrainingSet, column: str) -> np.ndarray:
    found = _column(whole, column)
    if not (pa.types.is_timestamp(found.type) or pa.types.is_date(found.type)):
        raise InvalidInput(f"'{column}' is {found.type}, not a time", hint="name a timestamp or date", column=column)
    if found.null_count:
        raise InvalidInput(
            f"'{column}' is null in {found.null_count} of {len(found)} rows",
            hint="a row without a time is neither before nor after: leave it out of the training set",
            column=column,
            rows=found.null_count,
        )
    us: np.ndarray = question_us(found, column).to_numpy(zero_copy_only=False)
    return us


def _column(whole: TrainingSet, name: str) -> pa.ChunkedArray:
    if name not in whole.table.column_names:
        raise InvalidInput(
            f"the training set has no column '{name}'", hint=did_you_mean(name, whole.table.column_names), column=name
        )
    return whole.table.column(name)


def _given(at: datetime | tuple[datetime, datetime]) -> np.ndarray:
    borders = np.array([epoch_us(utc(one)) for one in (at if isinstance(at, tuple) else (at,))], dtype=np.int64)
    return _rising(borders)


def _reached(us: np.ndarray, last: Reach | None) -> np.ndarray:
    """Where the later parts begin, so that they reach back as far as asked from the newest row."""
    reaches = last if isinstance(last, tuple) else (last,)
    _refuse_other_number(reaches)
    if all(isinstance(reach, timedelta) for reach in reaches):
        back = np.cumsum([reach // MICROSECOND for reach in reversed(reaches)])  # type: ignore[operator]
        if min(back) <= 0:
            raise InvalidInput("last is not a time back", hint="give a positive timedelta")
        return _rising((us.max(initial=0) - back + 1)[::-1])
    shares = _shares(last)  # type: ignore[arg-type]
    ordered = np.sort(us)
    places = [int(len(us) * (1 - sum(shares[number:])) + _ROUNDING) for number in range(len(shares))]
    return _rising(ordered[places]) if len(us) else _rising(np.zeros(len(shares), np.int64))


def _rising(borders: np.ndarray) -> np.ndarray:
    _refuse_other_number(borders)
    if (np.diff(borders) <= 0).any():
        raise InvalidInput(
            "validation does not begin before test", hint="give the earlier border first, and more than one time"
        )
    return borders


def _refuse_other_number(given: Sequence[object] | np.ndarray) -> None:
    if len(given) + 1 not in _PARTS:
        raise InvalidInput(
            f"{len(given)} borders", hint="give one for train and test, two for a validation part as well"
        )


def _shares(test: Share) -> list[float]:
    shares = [float(share) for share in (test if isinstance(test, tuple) else (test,))]
    _refuse_other_number(shares)
    if not all(0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise InvalidInput(f"shares of {shares} leave nothing to train or nothing to judge", hint="give test=0.2, say")
    return shares


def _by_bounds(places: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The part of each place in [0, 1): test first, then validation, then train, so that a share more moves no test row."""
    bounds = np.cumsum(shares[::-1])
    return len(shares) - np.searchsorted(bounds, places, side="right")


def _group_places(whole: TrainingSet, columns: Sequence[str], seed: int) -> np.ndarray:
    """For each row, where in [0, 1) its group falls."""
    if not columns:
        raise InvalidInput("no column names the group", hint="give group='customer_id'")
    encoded = [_encoded(_column(whole, name), name) for name in columns]
    codes = np.stack([codes for codes, _ in encoded], axis=1)
    groups, which = np.unique(codes, axis=0, return_inverse=True)
    key = hashlib.blake2b(repr(int(seed)).encode(), digest_size=32).digest()
    places = np.empty(len(groups))
    for row, group in enumerate(groups):
        digest = hashlib.blake2b(key=key, digest_size=8)
        for code, (_, values) in zip(group, encoded, strict=True):
            digest.update(values[code])
        places[row] = (int.from_bytes(digest.digest(), "big") >> 11) / 2 ** (_WORD_BITS - 11)
    found: np.ndarray = places[which.reshape(-1)]
    return found


def _encoded(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, list[bytes]]:
    """A column as codes, and each code's value as bytes: length first, so that values are never run together."""
    if key_family(column.type) in (None, "null"):
        raise InvalidInput(
            f"'{name}' is {column.type}, which can't name a group",
            hint="use whole numbers, text, booleans, dates, times, decimals or bytes",
            column=name,
        )
    compared = key_column(column, column.type, name).combine_chunks().dictionary_encode(null_encoding="encode")
    values = [_bytes(value) for value in compared.dictionary.to_pylist()]
    return compared.indices.to_numpy(zero_copy_only=False), values


def _bytes(value: object) -> bytes:
    if value is None:
        return b"-"
    if isinstance(value, datetime):
        value = epoch_us(value)
    if hasattr(value, "normalize"):
        value = value.normalize()  # 1.5 and 1.50 are one decimal
    plain = value if isinstance(value, bytes) else str(value).encode()
    return b"%d:%b" % (len(plain), plain)


def _strata(whole: TrainingSet, *, stratify: bool) -> list[np.ndarray]:
    rows = np.arange(len(whole.table))
    if not stratify:
        return [rows]
    if whole.spec.label is None:
        raise InvalidInput("there is no label to stratify by", hint="leave stratify out")
    labels = whole.table.column(whole.spec.label).combine_chunks().dictionary_encode(null_encoding="encode")
    codes = labels.indices.to_numpy(zero_copy_only=False)
    return [rows[codes == code] for code in range(len(labels.dictionary))]


def _doubt(whole: TrainingSet, part: np.ndarray) -> list[str]:
    """A word where rows of one key are on both sides."""
    keys = list(dict.fromkeys(key for lookup in whole.spec.lookups for key in lookup.keys))
    known = [key for key in keys if key in whole.table.column_names and not whole.table.column(key).null_count]
    if not known or not len(whole.table):
        return []
    ids = group_ids([whole.table.column(key) for key in known])
    pairs = np.unique(np.stack([ids, part], axis=1), axis=0)[:, 0]
    both = int((np.unique(pairs, return_counts=True)[1] > 1).sum())
    keyed = ", ".join(known)
    return [f"the split at random has {both} values of {keyed} in more than one part"] if both else []
