"""The cell that spells out what stands before the estimator, column by column."""

from __future__ import annotations

from collections.abc import Iterator

from millrace.automl.notebooks.pages import Cell, assigned, code, text
from millrace.automl.types import Impute, Preparation, Problem

_SPELLED = 40
"""More categories than this are taken from the data instead of being listed."""

_DATE_PARTS = '''
def date_parts(frame):
    """For each column of times: days since 1970, year, month, day, weekday, hour; NaN where there is none."""
    blocks = []
    for name in frame.columns:
        times = pd.to_datetime(frame[name], utc=True, errors="coerce").dt.tz_localize(None)
        days = times.to_numpy(dtype="datetime64[us]").astype(np.int64) / 86_400_000_000
        named = ("year", "month", "day", "day_of_week", "hour")
        parts = np.column_stack([days, *(getattr(times.dt, part).to_numpy(dtype="float64") for part in named)])
        blocks.append(np.where(times.isna().to_numpy()[:, None], np.nan, parts))
    return np.hstack(blocks)
'''
_FREQUENT = '''
def most_frequent(column, most):
    """The most frequent texts (of equally frequent ones the first by alphabet), sorted."""
    counts = column.dropna().value_counts().to_dict()
    return sorted(sorted(counts, key=lambda value: (-counts[value], value))[:most])
'''
_IMPUTERS: dict[Impute, str] = {
    "median": 'SimpleImputer(strategy="median", keep_empty_features=True)',
    "mean": 'SimpleImputer(strategy="mean", keep_empty_features=True)',
    "most_frequent": 'SimpleImputer(strategy="most_frequent", keep_empty_features=True)',
    "zero": 'SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)',
    "none": 'SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)',
}


def preparing(preparation: Preparation, problem: Problem, seed: int) -> list[Cell]:
    """The cells that define `preparation()`: an unfitted `ColumnTransformer`.

    Args:
        preparation: which column goes where.
        problem: what a target encoder encodes by.
        seed: deals the target encoder's folds.
    """
    categories = [*_categories("one_hot", preparation.one_hot), *_categories("encoded", preparation.target)]
    needs_counts = any("most_frequent" in line for line in categories)
    return [
        text("## Preparation", "", "What stands before the model, fitted anew inside each fold."),
        code(
            _FREQUENT + "\n" if needs_counts else "",
            _DATE_PARTS + "\n" if preparation.dates else "",
            *categories,
            *_number_lists(preparation),
            assigned("dates", list(preparation.dates)) if preparation.dates else "",
            "\n\ndef preparation():\n    return ColumnTransformer(\n        [",
            *(f"            {line}," for line in _parts(preparation, problem, seed)),
            "        ]\n    )",
        ),
    ]


def _categories(name: str, columns: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[str]:
    if not columns:
        return
    spelled = {column: list(known) for column, known in columns if len(known) <= _SPELLED}
    yield f"# The texts that are told apart; any other is one that was never seen.\n{assigned(name, spelled)}"
    for column, known in columns:
        if len(known) > _SPELLED:
            yield f"{name}[{column!r}] = most_frequent(X[{column!r}], {len(known)})"
    if any(len(known) > _SPELLED for _, known in columns):
        yield f"{name} = {{column: {name}[column] for column in {[column for column, _ in columns]!r}}}"


def _number_lists(preparation: Preparation) -> Iterator[str]:
    for way, names in _by_way(preparation).items():
        yield assigned(f"numbers_{way}" if preparation.scale else "numbers", names)


def _by_way(preparation: Preparation) -> dict[Impute, list[str]]:
    """Trees get numbers as they are, missing ones too; a linear model has them filled in some ways, by alphabet."""
    filled = dict(preparation.impute)
    if not preparation.numbers:
        return {}
    if not preparation.scale:
        return {"none": list(preparation.numbers)}
    ways = sorted({filled.get(name, "median") for name in preparation.numbers})
    return {way: [name for name in preparation.numbers if filled.get(name, "median") == way] for way in ways}


def _parts(preparation: Preparation, problem: Problem, seed: int) -> Iterator[str]:
    for way in _by_way(preparation):
        if preparation.scale:
            yield f'("numbers_{way}", make_pipeline({_IMPUTERS[way]}, StandardScaler()), numbers_{way})'
        else:
            yield '("numbers", "passthrough", numbers)'
    if preparation.dates:
        steps = "FunctionTransformer(date_parts)"
        scaled = f"make_pipeline({steps}, {_IMPUTERS['median']}, StandardScaler())"
        yield f'("dates", {scaled if preparation.scale else steps}, dates)'
    if preparation.one_hot:
        listed = "[np.array(known, dtype=object) for known in one_hot.values()]"
        yield f'("one_hot", OneHotEncoder(categories={listed}, handle_unknown="ignore", sparse_output=False), list(one_hot))'
    if preparation.target:
        encoder = _target_encoder(problem, seed)
        yield f'("target", {f"make_pipeline({encoder}, StandardScaler())" if preparation.scale else encoder}, list(encoded))'


def _target_encoder(problem: Problem, seed: int) -> str:
    kind, dealer = "continuous", "KFold"
    if problem.task == "classification":
        kind, dealer = ("binary" if problem.is_binary else "multiclass"), "StratifiedKFold"
    # The first category stands for all that is not told apart while fitting.
    listed = r'[np.array(["\x00 other", *known], dtype=object) for known in encoded.values()]'
    return (
        f'TargetEncoder(categories={listed}, target_type="{kind}", cv={dealer}(5, shuffle=True, random_state={seed}))'
    )
