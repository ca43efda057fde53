"""The rows that a user names: a table of the lake, or a frame of pandas, Arrow, polars or Spark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millrace.core.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from millrace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Given:
    """Rows as they came.

    Attributes:
        frame: a pandas frame.
        kinds: column to its type, for people.
        name: the table's, or `frame`.
        table, version: where they were read from; None for a frame.
    """

    frame: pd.DataFrame
    kinds: dict[str, str]
    name: str = "frame"
    table: str | None = None
    version: int | None = None


def read(dataset: Any, workspace: Workspace) -> Given:
    """Read them whole.

    Raises:
        InvalidInput: it is none of these.
        NotFound: there is no such table.
    """
    import pandas as pd

    if isinstance(dataset, str):
        pin = workspace.lake.pin(dataset)
        arrow = workspace.lake.read(dataset, version=int(pin.version))
        return Given(arrow.to_pandas(), _kinds_of_arrow(arrow), str(pin.name), str(pin.name), int(pin.version))
    if isinstance(dataset, pd.DataFrame):
        return Given(
            dataset, {str(name): str(kind) for name, kind in zip(dataset.columns, dataset.dtypes, strict=True)}
        )
    for method in ("toArrow", "to_arrow"):  # Spark, polars
        if hasattr(dataset, method):
            dataset = getattr(dataset, method)()
    if hasattr(dataset, "read_all"):
        dataset = dataset.read_all()
    if not hasattr(dataset, "to_pandas"):
        raise InvalidInput(
            f"a {type(dataset).__name__} is no data to learn from",
            hint="give a pandas, Arrow or Spark frame, or the name of a table",
        )
    return Given(dataset.to_pandas(), _kinds_of_arrow(dataset))


def _kinds_of_arrow(table: Any) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}
