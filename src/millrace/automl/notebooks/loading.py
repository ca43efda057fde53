"""Cells that read the rows of a search, and give models what the search gave them: numbers, times, texts, classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from millrace.automl.notebooks.pages import Cell, assigned, code, text
from millrace.automl.types import Column, Dataset, Search
from millrace.core.errors import InvalidInput

_NUMBERS = '''
def as_numbers(column):
    """float64; what is missing or infinite is NaN."""
    values = column.astype(object).to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)
'''
_SECONDS = '''
def as_seconds(column):
    """How long it took, as float64; what is missing is NaN."""
    return column.dt.total_seconds().to_numpy(dtype="float64")
'''
_TIMES = '''
def as_times(column):
    """Times in UTC; what is missing, or no time, is NaT."""
    return pd.to_datetime(column, utc=True, errors="coerce").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
'''
_TEXTS = '''
def as_texts(column):
    """Texts; what is missing is None."""
    found = [None if missing else str(value) for value, missing in zip(column, column.isna())]
    return pd.Series(found, dtype=object).to_numpy()
'''

_WAYS = {"numbers": _NUMBERS, "seconds": _SECONDS, "times": _TIMES, "texts": _TEXTS}
_NUMERIC = ("int", "uint", "float", "double", "bool", "decimal")


def reading(dataset: Dataset) -> list[Cell]:
    """The cells that make `frame`: the rows of the search, in its order, with all columns that were given.

    Raises:
        InvalidInput: the search kept no rows.
    """
    if dataset.path is None:
        raise InvalidInput(
            f"the rows of '{dataset.name}' were not kept, so no notebook can read them",
            hint="let the search keep its rows in the home",
        )
    told = ["The rows of the search, as they were kept with it, in its order."]
    if dataset.table is not None:
        told.append(f"They are of `{dataset.table}` at version {dataset.version}.")
    return [
        text("## Rows", "", *told, *_list("Found on the way:", dataset.warnings)),
        code(assigned("DATA", dataset.path), "frame = pd.read_parquet(DATA)", "frame.head()"),
    ]


def features(search: Search) -> list[Cell]:
    """The cells that make `X`, a column for each input, and the functions that they need."""
    groups: dict[str, list[str]] = {}
    for column in search.dataset.used:
        groups.setdefault(way_of(column), []).append(column.name)
    there = [way for way in _WAYS if way in groups]
    needed = {*there, *(way for _, way in roles(search))}
    left_out = [
        f"`{each.name}`: {each.why or each.semantic}" for each in search.dataset.columns if each.treatment == "drop"
    ]
    return [
        text(
            "## Inputs",
            "",
            "What each column is taken for. A column that is taken out of its list is no input any more.",
            *_list("Left out by the search:", left_out),
        ),
        code(*(assigned(way.upper(), groups[way]) for way in there)),
        code(
            *(function + "\n" for way, function in _WAYS.items() if way in needed),
            "columns = {}",
            *(f"columns |= {{name: as_{way}(frame[name]) for name in {way.upper()}}}" for way in there),
            "X = pd.DataFrame({name: columns[name] for name in frame.columns if name in columns})",
            "X.dtypes.value_counts()",
        ),
    ]


def roles(search: Search) -> list[tuple[str, str]]:
    """The columns that split or weigh the rows, each with the function that reads it."""
    named = {search.split.column, search.split.weight} if search.split.kind != "column" else {search.split.weight}
    return [(column.name, way_of(column)) for column in search.dataset.columns if column.name in named]


def target(search: Search) -> list[Cell]:
    """The cell that makes `y`: places of classes, or numbers; and `weights`, if rows weigh differently."""
    problem = search.problem
    if problem.task == "regression":
        return [code(f"y = {_as_numbers(problem.target)}", "y[:5]")]
    classes = [plain(value) for value in problem.classes]
    return [
        code(
            "# A class is its place in this list.",
            assigned("CLASSES", classes),
            "places = {value: place for place, value in enumerate(CLASSES)}",
            f"values = frame[{problem.target!r}]",
            "y = np.array([places[value if value in places else str(value)] for value in values], dtype=np.int64)",
            "pd.Series(y).map(dict(enumerate(CLASSES))).value_counts()",
        )
    ]


def plain(value: object) -> object:
    """A class as Python has it, so that its text is Python too."""
    item: Any = getattr(value, "item", None)
    return item() if item is not None else value


def _as_numbers(name: str) -> str:
    return f"frame[{name!r}].astype(object).to_numpy(dtype='float64', na_value=np.nan)"


def way_of(column: Column) -> str:
    """Which function reads it: `numbers`, `seconds`, `times` or `texts`."""
    if column.semantic == "date":
        return "times"
    if column.dtype.startswith(("timedelta", "duration")):
        return "seconds"
    is_number = column.semantic in {"number", "boolean"} or column.treatment == "number"
    return "numbers" if is_number or column.dtype.lower().startswith(_NUMERIC) else "texts"


def _list(title: str, lines: Iterable[str]) -> list[str]:
    shown = [f"- {line}" for line in lines]
    return ["", title, "", *shown] if shown else []
