"""AutoML: a search with an honest budget, every trial a tracked run with a notebook.

`classify` and `regress` search over a frame or a table; `AutoML` does so as a candidate of a pipeline.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.automl.candidate import AutoML
    from millrace.automl.search import classify, regress
    from millrace.automl.summary import AutoMLSummary

_FROM = {
    "AutoML": "millrace.automl.candidate",
    "classify": "millrace.automl.search",
    "regress": "millrace.automl.search",
    "AutoMLSummary": "millrace.automl.summary",
}
__all__ = ["AutoML", "AutoMLSummary", "classify", "regress"]


def __getattr__(name: str) -> object:
    if name not in _FROM:
        raise AttributeError(f"module 'millrace.automl' has no attribute '{name}'")
    return getattr(import_module(_FROM[name]), name)
