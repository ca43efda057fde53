"""Notebooks of a search, in plain scikit-learn: one for each trial, which gives its score again, and one that looks at the data."""

from __future__ import annotations

from millrace.automl.notebooks.exploration import exploration_notebook
from millrace.automl.notebooks.pages import Notebook
from millrace.automl.notebooks.trial import trial_notebook

__all__ = ["Notebook", "exploration_notebook", "trial_notebook"]
