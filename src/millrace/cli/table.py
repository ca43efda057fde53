"""`millrace table`: import, list, show, preview."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from millrace.cli.options import Home, Json, named_values
from millrace.cli.output import print_facts, print_json, print_table, say, size
from millrace.core.errors import UsageError

app = App(name="table", help="Import, list, show and preview tables.")


@app.command(name="import")
def import_(
    name: str,
    file: Path,
    *,
    replace: Annotated[bool, Parameter(negative="", help="Replace all rows instead of appending.")] = False,
    file_format: Annotated[
        Literal["csv", "parquet", "jsonl"] | None,
        Parameter(name="--format", help="What the file is, where its ending does not say."),
    ] = None,
    column_types: Annotated[
        list[str] | None,
        Parameter(name="--type", negative="", help="A column's type, as amount=decimal(18,2); may be repeated."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Import a CSV, Parquet or JSON lines file into a table, making the table where it is missing."""
    from millrace.lake.importing import import_file
    from millrace.workspace import open_workspace

    workspace = open_workspace(home)
    result = import_file(
        workspace.lake,
        name,
        file,
        mode="replace" if replace else "append",
        format=file_format,
        types=named_values("--type", column_types or (), "amount=decimal(18,2)"),
    )
    columns = [(field.name, str(field.type)) for field in result.schema]
    if json:
        print_json(
            {
                "table": str(result.table_version.name),
                "version": int(result.table_version.version),
                "rows": result.rows,
                "columns": dict(columns),
            }
        )
        return 0
    print_table(["column", "type"], columns)
    say(
        f"{result.rows:,} rows {'replaced' if replace else 'appended to'} {result.table_version.name}, now at version {result.table_version.version}"
    )
    return 0


@app.command(name="list")
def list_(*, home: Home = None, json: Json = False) -> int:
    """List the tables."""
    from millrace.workspace import require_home

    lake = require_home(home).lake
    rows = [
        {
            "name": str(entry.name),
            "role": entry.definition.role,
            "rows": lake.rows(entry.name),
            "description": entry.definition.description,
        }
        for entry in lake.catalog.list()
    ]
    if json:
        print_json({"tables": rows})
    elif rows:
        print_table(["table", "role", "rows", "description"], [list(row.values()) for row in rows])
    else:
        say("there are no tables yet; import one with `millrace table import NAME FILE`")
    return 0


@app.command
def show(name: str, *, home: Home = None, json: Json = False) -> int:
    """Show a table: its columns, keys, versions and size."""
    from millrace.workspace import require_home

    lake = require_home(home).lake
    entry, versions = lake.entry(name), lake.history(name)
    facts = {
        "table": str(entry.name),
        "id": entry.id,
        "role": entry.definition.role,
        "description": entry.definition.description,
        "owner": entry.owner,
        "primary_keys": list(entry.definition.primary_keys),
        "timeseries_column": entry.definition.timeseries_column,
        "available_after_s": entry.definition.available_after.total_seconds(),
        "rows": lake.rows(name),
        "size_bytes": lake.store.size_bytes(entry.location),
        "version": int(versions[-1].version),
        "location": entry.location,
    }
    columns = {field.name: str(field.type) for field in lake.schema(name)}
    if json:
        log = [
            {"version": int(v.version), "at": v.at, "operation": v.operation, "by": v.by, "why": v.why}
            for v in versions
        ]
        print_json({**facts, "columns": columns, "versions": log})
        return 0
    print_facts(
        {
            **facts,
            "primary_keys": ", ".join(entry.definition.primary_keys),
            "size_bytes": size(lake.store.size_bytes(entry.location)),
        }
    )
    print_table(["column", "type"], columns.items())
    print_table(
        ["version", "at", "operation", "by", "why"],
        [(v.version, v.at, v.operation, v.by, v.why) for v in versions[-10:]],
    )
    return 0


@app.command
def preview(
    name: str,
    *,
    rows: Annotated[int, Parameter(help="How many.")] = 10,
    columns: Annotated[
        list[str] | None, Parameter(name="--column", negative="", help="Only this column; may be repeated.")
    ] = None,
    version: Annotated[int | None, Parameter(help="Of which version; the newest by default.")] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Show the first rows of a table."""
    from millrace.workspace import require_home

    if rows < 0:
        raise UsageError(f"--rows is {rows}", hint="give a number from 0")
    lake = require_home(home).lake
    pinned = lake.pin(name, versions={} if version is None else {lake.entry(name).name: version})
    table = lake.read(name, int(pinned.version), columns).slice(0, rows)
    if json:
        print_json({"table": str(pinned.name), "version": int(pinned.version), "rows": table.to_pylist()})
    else:
        print_table(table.column_names, [row.values() for row in table.to_pylist()], title=str(pinned))
    return 0
