"""One SELECT over the lake: its rows are kept with the run, the first of them are in the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.jobs.job import SqlTask
from millrace.jobs.job_run import TaskOutcome
from millrace.tasks.given import Given

if TYPE_CHECKING:
    import pyarrow as pa

RESULT = "result.parquet"
_MOST_ROWS = 1_000_000
_SHOWN_ROWS = 20
_LONGEST_CELL = 60
_LONGEST_S = 86_400.0  # the task has a time-out of its own


def run_query(given: Given, work: SqlTask) -> TaskOutcome:
    """Read, and keep the rows as `result.parquet` with the attempt.

    Raises:
        InvalidInput: it is not one SELECT, names what is not there, or lacks a parameter.
        NotFound: the file with the query is not there.
    """
    query = _text(given, work)
    workspace = given.workspace
    rows = workspace.sql(_LONGEST_S).read(
        query, workspace.clock.now(), _MOST_ROWS + 1, parameters=dict(work.parameters)
    )
    is_cut = rows.num_rows > _MOST_ROWS
    rows = rows.slice(0, _MOST_ROWS)
    _keep(rows, given.artifacts / RESULT)
    print(_shown(rows), flush=True)  # noqa: T201 - the task's log
    told = f"{rows.num_rows:,} row{'' if rows.num_rows == 1 else 's'}" + (
        " and more, which were not kept" if is_cut else ""
    )
    first = rows.slice(0, 1).to_pylist()
    output: dict[str, object] = {
        "rows": rows.num_rows,
        "columns": rows.column_names,
        "first_row": {name: _plain(value) for name, value in first[0].items()} if first else {},
        "result": str(given.artifacts / RESULT),
    }
    return TaskOutcome(output, told)


def _text(given: Given, work: SqlTask) -> str:
    if (work.query is None) == (work.file is None):
        raise InvalidInput("a SQL task has a query or a file with one", hint="give one of query= and file=")
    return work.query if work.query is not None else given.file(work.file or "", "SQL file").read_text(encoding="utf-8")


def _keep(rows: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    draft = path.with_name(f"{path.name}.part")
    pq.write_table(rows, draft)
    draft.replace(path)


def _shown(rows: pa.Table) -> str:
    """A table of text: names, a line, the first rows."""
    lines = [
        rows.column_names,
        *([_cell(value) for value in row.values()] for row in rows.slice(0, _SHOWN_ROWS).to_pylist()),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(rows.num_columns)]
    said = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    said.insert(1, "  ".join("-" * width for width in widths))
    left = rows.num_rows - _SHOWN_ROWS
    return "\n".join(said + ([f"... and {left:,} more, in {RESULT}"] if left > 0 else []))


def _cell(value: object) -> str:
    text = "" if value is None else str(_plain(value)).replace("\n", " ")
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 3] + "..."


def _plain(value: object) -> object:
    from datetime import datetime

    from millrace.core.clock import iso

    if isinstance(value, datetime):
        return iso(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
