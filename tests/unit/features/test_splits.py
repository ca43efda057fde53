from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.features.fingerprint import fingerprint
from millrace.features.splits import split_at_random, split_by_group, split_by_time
from millrace.features.training_set import TrainingSet
from millrace.features.types import FeatureLookup, FeatureSpec, TrainingRecord

STAMP = pa.timestamp("us", "UTC")
DAY = timedelta(days=1)


def at(day: int) -> datetime:
    return datetime(2025, 1, 1, tzinfo=UTC) + (day - 1) * DAY


def whole(table: pa.Table, *, label: str | None = None, lookups: Sequence[FeatureLookup] = ()) -> TrainingSet:
    record = TrainingRecord((), at(60), len(table), fingerprint(table), "")
    return TrainingSet(table, record, FeatureSpec(tuple(lookups), label, (), tuple(table.column_names)))


def by_day(*days: int) -> TrainingSet:
    lookup = FeatureLookup("ml.features.t", "k", timestamp_lookup_key="t")
    table = pa.table({"k": list(range(len(days))), "t": pa.array([at(day) for day in days], STAMP)})
    return whole(table, lookups=[lookup])


def days(part: TrainingSet) -> list[int]:
    return [(time - at(1)) // DAY + 1 for time in part.table.column("t").to_pylist()]


def ids(part: TrainingSet, name: str = "i") -> list[Any]:
    found: list[Any] = part.table.column(name).to_pylist()
    return found


class TestByTime:
    def test_a_row_at_the_border_judges_and_the_order_stays(self) -> None:
        train, test = split_by_time(by_day(5, 1, 9, 3, 4), at=at(4))
        assert (days(train), days(test)) == ([1, 3], [5, 9, 4])

    def test_a_label_that_is_known_too_late_trains_nothing(self) -> None:
        # Known 3 days after its time: at day 10 the labels up to day 7 are known, inclusively.
        train, test = split_by_time(by_day(*range(1, 15)), at=at(10), known_after=3 * DAY)
        assert (days(train), days(test)) == (list(range(1, 8)), list(range(10, 15)))
        assert train.record.split["left_out"] == 2

    def test_three_parts_each_wait_for_their_labels(self) -> None:
        train, validation, test = split_by_time(by_day(*range(1, 21)), at=(at(8), at(15)), known_after=2 * DAY)
        assert (days(train), days(validation), days(test)) == (
            list(range(1, 7)),
            list(range(8, 14)),
            list(range(15, 21)),
        )

    def test_the_last_days_are_a_window_with_its_end(self) -> None:
        train, test = split_by_time(by_day(*range(1, 11)), last=3 * DAY)
        assert (days(train), days(test)) == (list(range(1, 8)), [8, 9, 10])
        *_, validation, test = split_by_time(by_day(*range(1, 11)), last=(2 * DAY, 3 * DAY))
        assert (days(validation), days(test)) == ([6, 7], [8, 9, 10])

    @pytest.mark.parametrize(("share", "expected"), [(0.2, [9, 10]), (0.5, [6, 7, 8, 9, 10]), (0.25, [8, 9, 10])])
    def test_a_share_is_of_the_rows(self, share: float, expected: list[int]) -> None:
        _, test = split_by_time(by_day(*range(1, 11)), last=share)
        assert days(test) == expected

    def test_rows_of_one_time_stay_together(self) -> None:
        train, test = split_by_time(by_day(1, 2, 2, 2, 2), last=0.2)
        assert (days(train), days(test)) == ([1], [2, 2, 2, 2])

    def test_dates_are_times(self) -> None:
        table = pa.table({"d": pa.array([date(2025, 1, 1), date(2025, 1, 2)])})
        train, test = split_by_time(whole(table), time="d", at=at(2))
        assert (train.record.rows, ids(test, "d")) == (1, [date(2025, 1, 2)])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(1, 40), min_size=3, max_size=30), st.integers(2, 39), st.integers(0, 10))
    def test_law_nothing_that_trains_was_unknown_when_judging_began(
        self, times: list[int], border: int, known: int
    ) -> None:
        set_ = by_day(*times)
        expected_train = [t for t in times if t < border and t + known <= border]
        expected_test = [t for t in times if t >= border]
        if not expected_train or not expected_test:
            with pytest.raises(InvalidInput, match=r"part of \d+ rows is empty"):
                split_by_time(set_, at=at(border), known_after=known * DAY)
            return
        train, test = split_by_time(set_, at=at(border), known_after=known * DAY)
        assert (days(train), days(test)) == (expected_train, expected_test)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "at or last, one of the two"),
            ({"at": at(2), "last": 0.2}, "at or last"),
            ({"at": at(2), "time": "tt"}, "no column 'tt'"),
            ({"at": at(2), "time": "k"}, "'k' is int64, not a time"),
            ({"at": at(2), "known_after": -DAY}, "known_after is negative"),
            ({"at": (at(3), at(2))}, "validation does not begin before test"),
            ({"at": (at(1), at(2), at(3))}, "3 borders"),
            ({"last": 1.0}, "leave nothing to train"),
            ({"last": (0.5, 0.5)}, "leave nothing to train"),
            ({"last": timedelta(0)}, "not a time back"),
            ({"at": at(1)}, "the train part of 3 rows is empty"),
            ({"at": at(9)}, "the test part of 3 rows is empty"),
        ],
    )
    def test_what_is_refused(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidInput, match=message) as refused:
            split_by_time(by_day(1, 2, 3), **arguments)
        assert refused.value.hint

    def test_a_row_without_a_time_is_refused_and_counted(self) -> None:
        table = pa.table({"t": pa.array([at(1), None, at(3)], STAMP)})
        with pytest.raises(InvalidInput, match="'t' is null in 1 of 3 rows"):
            split_by_time(whole(table), time="t", at=at(2))
        with pytest.raises(InvalidInput, match="no lookup asks by time"):
            split_by_time(whole(table), at=at(2))


def grouped(groups: Sequence[Any], kind: pa.DataType | None = None) -> TrainingSet:
    return whole(pa.table({"i": list(range(len(groups))), "g": pa.array(groups, kind)}))


class TestByGroup:
    def test_no_group_is_on_both_sides_and_every_row_is_somewhere(self) -> None:
        set_ = grouped([row % 50 for row in range(1000)])
        parts = split_by_group(set_, group="g", test=(0.2, 0.3))
        sides = [set(ids(part, "g")) for part in parts]
        assert all(one.isdisjoint(other) for one, other in itertools.combinations(sides, 2))
        assert sorted(row for part in parts for row in ids(part)) == list(range(1000))
        assert all(ids(part) == sorted(ids(part)) for part in parts)

    @settings(max_examples=25, deadline=None)
    @given(st.sets(st.integers(-(2**40), 2**40), min_size=60, max_size=90), st.integers(0, 9), st.data())
    def test_law_more_rows_never_move_a_group(self, groups: set[int], seed: int, data: st.DataObject) -> None:
        everyone = sorted(groups)
        some = sorted(data.draw(st.sets(st.sampled_from(everyone), min_size=50)))
        # Of halves none is empty, in any of these cases.
        train_all, test_all = (
            set(ids(part, "g")) for part in split_by_group(grouped(everyone), group="g", test=0.5, seed=seed)
        )
        train, test = (set(ids(part, "g")) for part in split_by_group(grouped(some), group="g", test=0.5, seed=seed))
        assert train <= train_all
        assert test <= test_all

    def test_a_share_is_met_and_a_seed_chooses_others(self) -> None:
        set_ = grouped(list(range(20_000)))
        _, test = split_by_group(set_, group="g", test=0.3)
        _, again = split_by_group(set_, group="g", test=0.3)
        _, other = split_by_group(set_, group="g", test=0.3, seed=1)
        assert len(test.table) / 20_000 == pytest.approx(0.3, abs=0.015)  # over four standard deviations
        assert ids(test) == ids(again) != ids(other)
        assert len(set(ids(test)) & set(ids(other))) / 20_000 == pytest.approx(0.09, abs=0.01)

    def test_a_validation_part_takes_nothing_from_the_test_part(self) -> None:
        set_ = grouped(list(range(500)))
        _, test = split_by_group(set_, group="g", test=0.2)
        _, _, same = split_by_group(set_, group="g", test=(0.3, 0.2))
        assert ids(test) == ids(same)

    def test_the_value_counts_not_the_type_it_is_stored_in(self) -> None:
        numbers = list(range(300))
        int32, int64 = (split_by_group(grouped(numbers, kind), group="g")[1] for kind in (pa.int32(), pa.int64()))
        assert ids(int32) == ids(int64)
        words = [f"c{number}" for number in numbers]
        plain = split_by_group(grouped(words), group="g")[1]
        encoded = whole(pa.table({"i": numbers, "g": pa.array(words).dictionary_encode()}))
        assert ids(plain) == ids(split_by_group(encoded, group="g")[1])
        money = [Decimal(number) / 10 for number in numbers]
        scales = (split_by_group(grouped(money, pa.decimal128(9, s)), group="g")[1] for s in (1, 4))
        assert len({tuple(ids(part)) for part in scales}) == 1

    def test_composite_groups_are_not_run_together(self) -> None:
        pairs = [(f"{a}", f"{b}") for a in (1, 11, 111) for b in (1, 11, 111)] * 2
        table = pa.table({"a": [a for a, _ in pairs], "b": [b for _, b in pairs]})
        found: dict[tuple[str, str], set[int]] = {pair: set() for pair in pairs}
        for seed in range(40):
            for number, part in enumerate(split_by_group(whole(table), group=["a", "b"], test=0.5, seed=seed)):
                for pair in zip(ids(part, "a"), ids(part, "b"), strict=True):
                    found[pair].add(number + 2 * seed)
        assert len({frozenset(where) for where in found.values()}) == 9

    def test_nulls_are_one_group(self) -> None:
        parts = split_by_group(grouped([None, None, *range(60)], pa.int64()), group="g")
        assert [None in ids(part, "g") for part in parts].count(True) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"group": "h"}, "no column 'h'"),
            ({"group": "x"}, "'x' is double, which can't name a group"),
            ({"group": []}, "no column names the group"),
            ({"group": "g", "test": 0.0}, "leave nothing"),
            ({"group": "g", "test": (0.5, 0.6)}, "leave nothing"),
            ({"group": "one"}, "part of 4 rows is empty"),
        ],
    )
    def test_what_is_refused(self, arguments: dict[str, Any], message: str) -> None:
        table = pa.table({"g": [1, 2, 3, 4], "x": [0.5] * 4, "one": ["a"] * 4})
        with pytest.raises(InvalidInput, match=message):
            split_by_group(whole(table), **arguments)


class TestAtRandom:
    def test_the_share_is_exact_and_the_seed_decides(self) -> None:
        set_ = grouped(list(range(1000)))
        train, validation, test = split_at_random(set_, test=(0.1, 0.25), seed=7)
        assert [len(part.table) for part in (train, validation, test)] == [650, 100, 250]
        assert sorted(ids(train) + ids(validation) + ids(test)) == list(range(1000))
        assert ids(test) == sorted(ids(test))
        assert ids(split_at_random(set_, test=(0.1, 0.25), seed=7)[2]) == ids(test)
        assert ids(split_at_random(set_, test=(0.1, 0.25), seed=8)[2]) != ids(test)

    def test_every_part_has_the_labels_in_proportion(self) -> None:
        table = pa.table({"i": list(range(1000)), "y": [int(row % 10 == 0) for row in range(1000)]})
        parts = split_at_random(whole(table, label="y"), test=0.2, stratify=True)
        assert [(sum(ids(part, "y")), len(part.table)) for part in parts] == [(80, 800), (20, 200)]

    def test_keys_on_both_sides_are_said(self) -> None:
        lookup = FeatureLookup("ml.features.t", "k")
        repeated = whole(pa.table({"k": [1, 1, 2, 2, 3, 3] * 5}), lookups=[lookup])
        train, test = split_at_random(repeated, test=0.4)
        both = len(set(ids(train, "k")) & set(ids(test, "k")))
        said = f"the split at random has {both} values of k in more than one part"
        assert both > 0
        assert train.record.warnings == test.record.warnings == (said,)
        apart = whole(pa.table({"k": list(range(30))}), lookups=[lookup])
        assert split_at_random(apart)[0].record.warnings == ()

    def test_what_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="no label"):
            split_at_random(grouped([1, 2, 3]), stratify=True)
        with pytest.raises(InvalidInput, match="test part of 2 rows is empty"):
            split_at_random(grouped([1, 2]), test=0.1)


def test_each_part_has_a_record_of_its_own_that_says_how_it_was_taken() -> None:
    set_ = by_day(*range(1, 21))
    train, test = split_by_time(set_, at=at(15), known_after=DAY)
    assert test.record.split == {
        "by": "time",
        "part": "test",
        "column": "t",
        "at": ["2025-01-15T00:00:00Z"],
        "known_after_s": 86400.0,
        "of": set_.record.fingerprint,
        "rows": 20,
        "left_out": 0,
    }
    assert (test.record.rows, test.record.fingerprint) == (6, fingerprint(test.table))
    assert json.loads(json.dumps(dict(train.record.split))) == train.record.split
    inner = split_by_group(train, group="k", test=0.5)[0]
    assert inner.record.split["after"] == train.record.split
    assert inner.record.split["of"] == train.record.fingerprint
