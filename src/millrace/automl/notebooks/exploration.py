"""A notebook that looks at the data of a search: types, missing values, distributions, correlations, and what smells of leakage."""

from __future__ import annotations

from millrace.automl.notebooks.folding import folding
from millrace.automl.notebooks.leakage import leakage
from millrace.automl.notebooks.loading import features, reading, target
from millrace.automl.notebooks.pages import Cell, Notebook, assigned, code, text
from millrace.automl.notebooks.pictures import CORRELATIONS, DATES, MISSING, NUMBERS, TARGET, TEXTS
from millrace.automl.types import Search

_IMPORTS = """
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
"""


def exploration_notebook(search: Search) -> Notebook:
    """The notebook about the rows that a search sees.

    Like a trial's it needs pandas, scikit-learn and matplotlib, and nothing of ours. Large data is sampled where a picture or a model of one
    column needs no more.

    Args:
        search: its rows, columns and folds; trials are not needed.

    Raises:
        InvalidInput: the search kept no rows that a notebook could read.
    """
    problem, dataset = search.problem, search.dataset
    kind = f"one of {len(problem.classes)} classes" if problem.task == "classification" else "a number"
    cells = [
        text(
            f"# What is in {dataset.name}?",
            "",
            f"{dataset.rows:,} rows, {len(dataset.columns)} columns beside the target `{problem.target}`, which is {kind}.",
            "What could spoil a model is at the end: columns that know too much, and rows that stand on both sides of a fold.",
        ),
        code(_IMPORTS),
        *reading(dataset),
        *target(search),
        *features(search),
        *_types(search),
        text("## Target"),
        code(assigned("IS_CLASS", problem.task == "classification"), TARGET),
        text("## Missing values"),
        code(MISSING),
        text(
            "## Distributions",
            "",
            "Numbers between their 1st and 99th percentiles, by the target: by class, or below and above its median.",
        ),
        code(NUMBERS),
        code(TEXTS),
        code(DATES),
        text(
            "## Correlations",
            "",
            "By rank (Spearman), so that only order counts. Two columns that say the same share their importance.",
        ),
        code(CORRELATIONS),
        *folding(search),
        *leakage(search),
    ]
    return Notebook(tuple(cells))


def _types(search: Search) -> list[Cell]:
    names = ["column", "type", "taken for", "treatment", "missing", "infinite", "distinct", "why"]
    seen = [
        (each.name, each.dtype, each.semantic, each.treatment, each.missing, each.infinite, each.distinct, each.why)
        for each in search.dataset.columns
    ]
    return [
        text("## Types", "", "What the search took each column for, and what it does with it."),
        code(
            assigned("SEEN", seen),
            f"seen = pd.DataFrame(SEEN, columns={names!r}).set_index('column')",
            "with pd.option_context('display.max_rows', 200, 'display.max_colwidth', 80):\n    display(seen)",
        ),
    ]
