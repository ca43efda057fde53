"""Notebooks: read, written, and run with the names that people know. `docs/notebooks.md` explains it.

- `run_notebook` executes one in a kernel of its own
- `read_notebook`, `write_notebook`: `.ipynb` and source format
- `dbutils`, `display`, `displayHTML`, for plain programs: `from millrace.notebooks import dbutils`
- `use_vendor_names`: imports of the vendor's feature-engineering module mean ours, where it is absent
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.notebooks.aliases import use_vendor_names
    from millrace.notebooks.names.dbutils import Dbutils
    from millrace.notebooks.names.display import display, displayHTML
    from millrace.notebooks.read import read_notebook, write_notebook
    from millrace.notebooks.run import run_notebook
    from millrace.notebooks.types import Cell, Notebook, NotebookResult

    dbutils: Dbutils

_FROM = {
    "Cell": "millrace.notebooks.types",
    "Notebook": "millrace.notebooks.types",
    "NotebookResult": "millrace.notebooks.types",
    "display": "millrace.notebooks.names.display",
    "displayHTML": "millrace.notebooks.names.display",
    "read_notebook": "millrace.notebooks.read",
    "run_notebook": "millrace.notebooks.run",
    "use_vendor_names": "millrace.notebooks.aliases",
    "write_notebook": "millrace.notebooks.read",
}

__all__ = [
    "Cell",
    "Notebook",
    "NotebookResult",
    "dbutils",
    "display",
    "displayHTML",
    "read_notebook",
    "run_notebook",
    "use_vendor_names",
    "write_notebook",
]


def __getattr__(name: str) -> object:
    if name == "dbutils":
        globals()["dbutils"] = _dbutils()
        return globals()["dbutils"]
    if name not in _FROM:
        raise AttributeError(f"module 'millrace.notebooks' has no attribute '{name}'")
    value = getattr(import_module(_FROM[name]), name)
    globals()[name] = value
    return value


def _dbutils() -> object:
    """The notebook's own in a kernel; in a program one of its own, which knows what the environment says."""
    import sys

    if "IPython" in sys.modules:
        from IPython import get_ipython

        shell = get_ipython()
        if shell is not None and "dbutils" in shell.user_ns:
            return shell.user_ns["dbutils"]
    from millrace.jobs.task_values import FILES
    from millrace.notebooks.context import read_context
    from millrace.notebooks.names.dbutils import Dbutils

    return Dbutils(read_context(), FILES)
