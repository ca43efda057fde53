"""`display`: tables that can be read, of any kind of frame, and figures."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 1000
_TEXT_ROWS = 20
_LONGEST = 200


def display(*values: object, **options: object) -> None:
    """Show values: frames of Spark, pandas, Polars and Arrow as tables of up to 1,000 rows, all else as IPython does."""
    from IPython.display import display as show

    for value in values:
        table = first_rows(value, MOST_ROWS + 1)
        if table is None:
            show(value, **options)
        else:
            show({"text/plain": as_text(table), "text/html": as_html(table)}, raw=True)


def displayHTML(text: str) -> None:  # noqa: N802 - the name that people know
    """Show HTML."""
    from IPython.display import HTML
    from IPython.display import display as show

    show(HTML(text))


def first_rows(value: Any, count: int) -> pa.Table | None:
    """The first rows of a frame as an Arrow table; None where it is no frame."""
    import pyarrow as pa

    kind = type(value)
    root = kind.__module__.partition(".")[0]
    if root == "pyspark" and hasattr(value, "toArrow"):
        return value.limit(count).toArrow()
    if root == "pandas" and kind.__name__ == "DataFrame":
        head = value.head(count)
        return pa.Table.from_pylist([]) if not len(head.columns) else _of_pandas(head)
    if root == "polars" and kind.__name__ in {"DataFrame", "LazyFrame"}:
        head = value.head(count)
        return (head.collect() if kind.__name__ == "LazyFrame" else head).to_arrow()
    if isinstance(value, (pa.Table, pa.RecordBatch)):
        table = value if isinstance(value, pa.Table) else pa.Table.from_batches([value])
        return table.slice(0, count)
    if isinstance(value, list) and value and type(value[0]).__name__ == "FileInfo":
        return pa.Table.from_pylist([{"path": each.path, "name": each.name, "size": each.size} for each in value])
    return None


def as_html(table: pa.Table) -> str:
    """A table of HTML; rows beyond the most are told, not shown."""
    names = "".join(f"<th>{html.escape(str(name))}</th>" for name in table.column_names)
    kinds = "".join(
        f'<th style="font-weight:normal;opacity:.6">{html.escape(str(kind))}</th>' for kind in table.schema.types
    )
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_shown(value))}</td>' for value in row)}</tr>"
        for row in _rows(table, MOST_ROWS)
    )
    head = f"<thead><tr>{names}</tr><tr>{kinds}</tr></thead>"
    return f"<table>{head}<tbody>{rows}</tbody></table><p>{_count(table, MOST_ROWS)}</p>"


def as_text(table: pa.Table) -> str:
    """The same as text, with fewer rows."""
    rows = [[_shown(value) for value in row] for row in _rows(table, _TEXT_ROWS)]
    widths = [max(map(len, column)) for column in zip(table.column_names, *rows, strict=True)]
    lines = [table.column_names, ["-" * width for width in widths], *rows]
    told = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*told, _count(table, _TEXT_ROWS)])


def _rows(table: pa.Table, most: int) -> list[tuple[object, ...]]:
    head = table.slice(0, most)
    columns = [column.to_pylist() for column in head.columns]
    return list(zip(*columns, strict=True))


def _count(table: pa.Table, shown: int) -> str:
    if table.num_rows > MOST_ROWS:
        return f"the first {shown:,} rows"
    rows = f"{table.num_rows:,} {'row' if table.num_rows == 1 else 'rows'}"
    return rows if table.num_rows <= shown else f"{shown:,} of {rows}"


def _shown(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _of_pandas(frame: Any) -> pa.Table:
    """Columns that Arrow has no type for are shown as text."""
    import pyarrow as pa

    named = frame.reset_index() if frame.index.name or frame.index.nlevels > 1 else frame
    columns = {}
    for position in range(len(named.columns)):
        column = named.iloc[:, position]
        try:
            columns[f"{position}"] = pa.Array.from_pandas(column)
        except (pa.ArrowException, TypeError, ValueError):
            columns[f"{position}"] = pa.array([str(value) for value in column])
    return pa.table(columns).rename_columns([str(name) for name in named.columns])
