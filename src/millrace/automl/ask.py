"""From what a user asks to what is searched: problem, split, columns, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.automl.check import check_known
from millrace.automl.columns import describe, preparation
from millrace.automl.metrics import metric_for
from millrace.automl.read import Given
from millrace.automl.rows import Rows, plain_frame, plain_values
from millrace.automl.splits import plan_folds
from millrace.automl.types import Column, Dataset, Impute, Preparation, Problem, SplitKind, SplitPlan, Task
from millrace.automl.workers.fit import Job
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_LEAST_ROWS = 20
_PLAIN = (bool, int, float, str)
_MOST_CLASSES = 100
_MOST_CELLS = 30_000_000
_LEAST_OF_CLASS = 2
_KEPT_PER_RARE = 20
_KEPT_ROWS = 20_000
_LEAST_FOLDS = 2
_WAYS = ("median", "mean", "most_frequent", "zero")
_SPLIT_VALUES = ("train", "validate", "test")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for, beside the rows. Each is explained in `classify`."""

    task: Task
    target: str
    metric: str | None = None
    time_col: str | None = None
    group_col: str | None = None
    split_col: str | None = None
    weight_col: str | None = None
    exclude: Sequence[str] = ()
    imputers: Mapping[str, Impute] = field(default_factory=dict)
    positive: object = None
    folds: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A search that can begin.

    Attributes:
        job: what the workers get.
        dataset: the columns and what is done with them.
        preparations: by whether the estimator wants scaled inputs.
        raw: the searched rows as they were given, in the same order, for the notebooks.
    """

    job: Job
    dataset: Dataset
    preparations: Mapping[bool, Preparation]
    raw: pd.DataFrame


def ask(given: Given, wish: Wish) -> Asked:
    """Look at the data, and decide.

    Raises:
        InvalidInput: nothing can be learned from this: the message says why.
    """
    _check_names(given.frame, wish)
    warnings: list[str] = []
    raw, target, classes = _labelled(given, wish, warnings)
    frame, infinite = plain_frame(raw.drop(columns=[wish.target]))
    columns = describe(frame, given.kinds, infinite, excluded=_roles(wish), imputers=wish.imputers)
    columns = tuple(_explained(column, raw) for column in columns)
    used = tuple(column for column in columns if column.treatment != "drop")
    if not used:
        why = "; ".join(f"{column.name}: {column.why}" for column in columns[:5]) or "there is no other column"
        raise InvalidInput(f"no column is left to learn from ({why})", hint="give more columns, or exclude fewer")
    rows = _rows(frame, used, target, wish)
    metric = metric_for(wish.task, wish.metric)
    problem = Problem(wish.task, wish.target, metric.name, metric.higher_is_better, classes, _positive(wish, classes))
    plan = _plan(rows, wish, warnings)
    warnings += [f"{column.name} is left out: {column.why}" for column in columns if _tell(column, wish)]
    warnings += [f"{name}: {count:,} infinite numbers count as missing" for name, count in infinite.items()]
    found = Dataset(given.name, len(rows), columns, given.table, given.version, warnings=tuple(warnings))
    ways = {scale: preparation(columns, frame, scale=scale) for scale in (False, True)}
    return Asked(Job(problem, plan, rows), found, ways, raw)


def _explained(column: Column, raw: pd.DataFrame) -> Column:
    """A column of lists, bytes or other objects has values, which no model takes."""
    if column.semantic != "empty" or not column.why or column.name not in raw or raw[column.name].isna().all():
        return column
    return replace(column, why="its values are no numbers, texts or times")


def _check_names(frame: pd.DataFrame, wish: Wish) -> None:
    named = {
        "target": wish.target,
        "time_col": wish.time_col,
        "group_col": wish.group_col,
        "split_col": wish.split_col,
        "sample_weight_col": wish.weight_col,
    }
    for role, name in [*named.items(), *(("exclude_cols", name) for name in wish.exclude)]:
        if name is not None and name not in frame.columns:
            raise InvalidInput(
                f"{role} names '{name}', which is no column",
                hint=did_you_mean(name, map(str, frame.columns)),
                column=name,
            )
        if role not in {"target", "exclude_cols"} and name == wish.target:
            raise InvalidInput(f"{role} names the target", hint="name another column, or leave it out")
    names = list(map(str, frame.columns))
    if names.count(wish.target) > 1:
        raise InvalidInput(f"the target '{wish.target}' stands twice", hint="rename one of them")
    if wish.folds is not None and wish.folds < _LEAST_FOLDS:
        raise InvalidInput(f"folds is {wish.folds}", hint=f"give at least {_LEAST_FOLDS}, or leave it out")
    for name, way in wish.imputers.items():
        check_known("imputers", name, names)
        check_known("imputers", way, _WAYS)
    if sum(name is not None for name in (wish.time_col, wish.group_col, wish.split_col)) > 1:
        raise InvalidInput("folds can follow one column only", hint="give one of time_col, group_col and split_col")


def _labelled(given: Given, wish: Wish, warnings: list[str]) -> tuple[pd.DataFrame, np.ndarray, tuple[object, ...]]:
    """The rows that count, their target, and the classes."""
    frame = given.frame
    known = ~frame[wish.target].isna().to_numpy()
    values = np.empty(0)
    if wish.task == "regression":
        values = plain_values(frame[wish.target])
        if values.dtype.kind != "f":
            raise InvalidInput(
                f"the target '{wish.target}' is no number", hint="use classify for classes, or turn it into a number"
            )
        known &= np.isfinite(values)
    _leave_out(known, f"have no {wish.target}", warnings)
    if wish.split_col is not None:
        named = np.isin(plain_values(frame[wish.split_col]).astype(str), _SPLIT_VALUES)
        _leave_out(known & named, f"have none of {', '.join(_SPLIT_VALUES)} in {wish.split_col}", warnings, known.sum())
        known &= named
    for name in (wish.time_col, wish.group_col):
        if name is not None:
            there = known & ~frame[name].isna().to_numpy()
            _leave_out(there, f"have no {name}", warnings, known.sum())
            known = there
    _require_rows(known, warnings)
    classes: tuple[object, ...] = ()
    if wish.task == "classification":
        classes, values = _classes(frame[wish.target], known, wish.target, warnings)
        known = values >= 0
    places = _sampled(np.flatnonzero(known), frame.shape[1], wish, warnings)
    if len(places) < _LEAST_ROWS:
        raise InvalidInput(
            f"{len(places)} rows with a {wish.target} are too few", hint=f"give at least {_LEAST_ROWS} labelled rows"
        )
    kept, target = frame.iloc[places].reset_index(drop=True), values[places]
    if wish.task == "classification":
        return kept, target, classes
    if target.min() == target.max():
        raise InvalidInput(
            f"the target is {target[0]:g} in all rows: there is nothing to learn", hint="check how it is made"
        )
    return kept, target, ()


def _leave_out(known: np.ndarray, why: str, warnings: list[str], of: Any = None) -> None:
    gone = int((len(known) if of is None else of) - known.sum())
    if gone:
        warnings.append(f"{gone:,} rows {why} and are left out")


def _require_rows(known: np.ndarray, warnings: list[str]) -> None:
    if warnings and not known.any():
        raise InvalidInput(f"no row is left: {'; '.join(warnings)}", hint="check the columns that are named")


def _classes(
    column: pd.Series, known: np.ndarray, target: str, warnings: list[str]
) -> tuple[tuple[object, ...], np.ndarray]:
    """The classes, and for each row the place of its class among them; -1 where it has none that counts."""
    codes, distinct = _distinct(column, known, target)
    counts: dict[object, int] = {}
    for value, count in zip(distinct, np.bincount(codes[codes >= 0], minlength=len(distinct)), strict=True):
        if count:
            counts[value] = counts.get(value, 0) + int(count)
    rare = {value for value, count in counts.items() if count < _LEAST_OF_CLASS}
    classes = sorted(counts.keys() - rare, key=lambda value: (isinstance(value, str), value))
    if len(classes) > _MOST_CLASSES or len(rare) > len(counts) / 2 > 1:
        raise InvalidInput(
            f"the target '{target}' has {len(counts):,} values, which are no classes", hint="use regress for a number"
        )
    if len(classes) < 2:  # noqa: PLR2004 - something to tell apart
        one = f"is {classes[0]!r} in all {sum(counts.values()):,} rows" if classes else "has no value"
        raise InvalidInput(f"the target '{target}' {one}: there is nothing to learn", hint="check how it is made")
    if rare:
        warnings.append(f"{len(rare)} classes have one row and are left out: {', '.join(map(str, list(rare)[:5]))}")
    order = {value: place for place, value in enumerate(classes)}
    places = np.array([*(order.get(value, -1) for value in distinct), -1], dtype=np.int64)
    return tuple(classes), places[codes]


def _distinct(column: pd.Series, known: np.ndarray, target: str) -> tuple[np.ndarray, list[object]]:
    """For each row the place of its value among those that differ, as plain values; -1 where it is not known."""
    import pandas as pd

    try:
        codes, values = pd.factorize(column)
    except TypeError as error:
        raise InvalidInput(
            f"the target '{target}' has values that are no classes: {error}", hint="turn them into texts or numbers"
        ) from None
    return np.where(known, codes, -1), [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A class as a plain value: text, bool, int, or float where it is no whole number."""
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, float) and item.is_integer():
        return int(item)
    if isinstance(item, bool | int | float | str):
        return item if type(item) in _PLAIN else _bare(item)
    return str(item)


def _bare(item: float | str) -> object:
    """The value of a member of an Enum, say, whose class another process need not know."""
    if isinstance(item, str):
        return str.__str__(item)
    return int(item) if isinstance(item, int) else float(item)


def _sampled(places: np.ndarray, width: int, wish: Wish, warnings: list[str]) -> np.ndarray:
    most = max(_MOST_CELLS // max(width, 1), _LEAST_ROWS)
    if len(places) <= most:
        return places
    warnings.append(f"{most:,} of {len(places):,} rows are used, drawn at random")
    return np.sort(np.random.default_rng(wish.seed).choice(places, most, replace=False))


def _roles(wish: Wish) -> dict[str, str]:
    """Column to why no model sees it."""
    found = dict.fromkeys(wish.exclude, "excluded")
    roles = {wish.group_col: "rows are grouped by it", wish.split_col: "it splits the rows"}
    roles |= {wish.weight_col: "it weighs the rows", wish.time_col: "it orders the rows"}
    return found | {name: why for name, why in roles.items() if name is not None}


def _tell(column: Column, wish: Wish) -> bool:
    return column.treatment == "drop" and column.name not in _roles(wish)


def _rows(frame: pd.DataFrame, used: Sequence[Column], target: np.ndarray, wish: Wish) -> Rows:
    weights = None
    if wish.weight_col is not None:
        weights = frame[wish.weight_col].to_numpy()
        if weights.dtype.kind != "f" or not (weights >= 0).all() or weights.sum() == 0:
            raise InvalidInput(
                f"the weights in '{wish.weight_col}' are no numbers from 0", hint="fill or drop those rows"
            )
    return Rows(frame[[column.name for column in used]], target, weights, _by(frame, wish))


def _by(frame: pd.DataFrame, wish: Wish) -> np.ndarray | None:
    if wish.split_col is not None:
        return np.asarray(frame[wish.split_col].to_numpy().astype(str))
    if wish.group_col is not None:
        return np.unique(frame[wish.group_col].astype(str), return_inverse=True)[1]
    if wish.time_col is not None:
        values = np.asarray(frame[wish.time_col].to_numpy())
        if values.dtype.kind == "M":
            return np.asarray(values.astype(np.int64))
        return values if values.dtype.kind == "f" else np.unique(values.astype(str), return_inverse=True)[1]
    return None


def _positive(wish: Wish, classes: tuple[object, ...]) -> object:
    if len(classes) != 2:  # noqa: PLR2004 - only of two classes one is the positive
        return None
    if wish.positive is None:
        return classes[1]
    if wish.positive not in classes:
        raise InvalidInput(
            f"pos_label is {wish.positive!r}, which is no class", hint=f"give {classes[0]!r} or {classes[1]!r}"
        )
    return wish.positive


def _plan(rows: Rows, wish: Wish, warnings: list[str]) -> SplitPlan:
    kind: SplitKind = "stratified" if wish.task == "classification" else "random"
    column = wish.time_col or wish.group_col or wish.split_col
    if column is not None:
        kind = "time" if wish.time_col else ("group" if wish.group_col else "column")
    folds, repeats = plan_folds(rows, wish.task, kind, wish.folds)
    plan = SplitPlan(kind, folds, repeats, wish.seed, column, wish.weight_col)
    if wish.task == "regression":
        return plan
    counts = np.bincount(rows.target)
    most, others = int(counts.max()), int(counts.sum() - counts.max())
    keep = max(_KEPT_PER_RARE * others, _KEPT_ROWS) / most
    if keep >= 1.0:
        return plan
    warnings.append(f"fits see {keep:.1%} of the largest class's {most:,} rows, each weighing {1 / keep:.3g} times")
    return replace(plan, majority_kept=keep)
