"""`millrace features list`, `show`, `history`, `delete`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import duration, print_facts, print_json, print_table, say, shown, size
from millrace.core.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from millrace.features.freshness import Freshness
    from millrace.lake.lake import Lake
    from millrace.lake.types import TableEntry

_LATEST = 10


def list_(*, home: Home = None, json: Json = False) -> int:
    """List the feature tables, and how fresh they are."""
    from millrace.features.freshness import table_freshness
    from millrace.workspace import require_home

    lake = require_home(home).lake
    found = [entry for entry in lake.catalog.list() if entry.definition.role == "features"]
    rows: list[dict[str, Any]] = [
        {
            "name": str(entry.name),
            "primary_keys": list(entry.definition.primary_keys),
            "timeseries_column": entry.definition.timeseries_column,
            "rows": lake.rows(entry.name),
            "version": int(lake.pin(entry.name).version),
            "owner": entry.owner,
            "freshness": _freshness(table_freshness(lake, entry.name)),
            "description": entry.definition.description,
        }
        for entry in found
    ]
    if json:
        print_json({"feature_tables": rows})
    elif rows:
        print_table(
            ["feature table", "keys", "time", "rows", "freshness", "owner", "description"],
            [
                (
                    row["name"],
                    ", ".join(row["primary_keys"]),
                    row["timeseries_column"],
                    row["rows"],
                    _told(row["freshness"]),
                    row["owner"],
                    row["description"],
                )
                for row in rows
            ],
        )
    else:
        say("there are no feature tables yet; a pipeline makes them, or FeatureEngineeringClient.create_table")
    return 0


def show(name: str, *, home: Home = None, json: Json = False) -> int:
    """Show a feature table: columns, keys, rules, freshness, versions."""
    from millrace.features.freshness import table_freshness
    from millrace.workspace import require_home

    workspace = require_home(home)
    lake, entry = workspace.lake, _feature_table(workspace.lake, name)
    facts = _facts(lake, entry, table_freshness(lake, name))
    columns = {field.name: str(field.type) for field in lake.schema(name)}
    versions = _versions(lake, name, _LATEST)
    if json:
        print_json({**facts, "columns": columns, "versions": versions})
        return 0
    by_date = columns.get(str(entry.definition.timeseries_column), "").startswith("date")
    print_facts(_readable(facts, by_date=by_date))
    print_table(["column", "type", ""], [(column, kind, _part(entry, column)) for column, kind in columns.items()])
    _print_versions(versions)
    return 0


def history(
    name: str,
    *,
    limit: Annotated[int, Parameter(help="How many of the newest versions.")] = 20,
    home: Home = None,
    json: Json = False,
) -> int:
    """Show who changed a feature table, when, why, and how many rows; the newest version first."""
    from millrace.workspace import require_home

    if limit < 1:
        raise UsageError(f"--limit is {limit}", hint="give a number from 1")
    lake = require_home(home).lake
    versions = _versions(lake, str(_feature_table(lake, name).name), limit)
    if json:
        print_json({"table": str(lake.entry(name).name), "versions": versions})
    else:
        _print_versions(versions)
    return 0


def delete(
    name: str,
    *,
    keys: Annotated[
        Path, Parameter(help="A CSV, Parquet or JSON lines file with the key columns; with times, only those rows.")
    ],
    why: Annotated[str, Parameter(help="For the table's history.")] = "delete by key",
    home: Home = None,
    json: Json = False,
) -> int:
    """Delete the rows of the keys in a file, in one commit; older versions keep them."""
    from millrace.features.tables import delete_feature_rows
    from millrace.lake.importing import read_file
    from millrace.workspace import require_home

    lake = require_home(home).lake
    entry = _feature_table(lake, name)
    types = {field.name: field.type for field in lake.schema(entry.name)}
    deleted = delete_feature_rows(lake, entry.name, read_file(keys, types), why)
    if json:
        print_json({"table": str(entry.name), "version": int(deleted.table.version), "rows_deleted": deleted.rows})
    else:
        say(
            f"{deleted.rows:,} {'row' if deleted.rows == 1 else 'rows'} deleted from {entry.name}, now at version {deleted.table.version}"
        )
    return 0


def _feature_table(lake: Lake, name: str) -> TableEntry:
    entry = lake.entry(name)
    if not entry.definition.primary_keys:
        raise InvalidInput(
            f"table {entry.name} is not a feature table: it has no primary keys",
            hint=f"see it with: millrace table show {name}",
            table=str(entry.name),
        )
    return entry


def _facts(lake: Lake, entry: TableEntry, freshness: Freshness) -> dict[str, Any]:
    definition = entry.definition
    return {
        "table": str(entry.name),
        "id": entry.id,
        "role": definition.role,
        "description": definition.description,
        "owner": entry.owner,
        "tags": dict(definition.tags),
        "created_at": entry.created_at,
        "updated_at": entry.updated_at,
        "primary_keys": list(definition.primary_keys),
        "timeseries_column": definition.timeseries_column,
        "partition_columns": list(definition.partition_columns),
        "available_after_s": definition.available_after.total_seconds(),
        "date_stands_for": definition.date_stands_for,
        "freshness": _freshness(freshness),
        "rows": lake.rows(entry.name),
        "size_bytes": lake.store.size_bytes(entry.location),
        "version": int(lake.pin(entry.name).version),
        "location": entry.location,
    }


def _readable(facts: Mapping[str, Any], *, by_date: bool) -> dict[str, object]:
    """The facts as people read them, in their order: units instead of numbers, and only what says something."""
    shown_as: dict[str, object] = {
        "tags": ", ".join(f"{key}={value}" for key, value in facts["tags"].items()),
        "primary_keys": ", ".join(facts["primary_keys"]),
        "partition_columns": ", ".join(facts["partition_columns"]),
        "available_after_s": duration(timedelta(seconds=facts["available_after_s"])),
        "date_stands_for": f"the {facts['date_stands_for']} of its day" if by_date else "",
        "freshness": _told(facts["freshness"]),
        "size_bytes": size(facts["size_bytes"]),
    }
    readable = {name: shown_as.get(name, value) for name, value in facts.items()}
    return {
        name.removesuffix("_s").removesuffix("_bytes"): value
        for name, value in readable.items()
        if value not in ("", None)
    }


def _freshness(found: Freshness) -> dict[str, object]:
    return {
        "verdict": found.verdict,
        "newest": found.newest,
        "age_s": None if found.age is None else found.age.total_seconds(),
        "expected_s": None if found.expected is None else found.expected.total_seconds(),
    }


def _told(freshness: Any) -> str:
    """As in `late: 3 d old, 1 d expected`."""
    age, expected, verdict = freshness["age_s"], freshness["expected_s"], freshness["verdict"]
    old = "no rows" if age is None else f"{duration(timedelta(seconds=age))} old"
    return old if verdict == "unknown" else f"{verdict}: {old}, {duration(timedelta(seconds=expected))} expected"


def _part(entry: TableEntry, column: str) -> str:
    definition = entry.definition
    parts = [
        "key" if column in definition.primary_keys else "",
        "time" if column == definition.timeseries_column else "",
        "partition" if column in definition.partition_columns else "",
    ]
    return ", ".join(part for part in parts if part)


def _versions(lake: Lake, name: str, limit: int) -> list[dict[str, object]]:
    return [
        {
            "version": int(info.version),
            "at": info.at,
            "operation": info.operation,
            "inserted": info.inserted,
            "updated": info.updated,
            "deleted": info.deleted,
            "rows": lake.rows(name, info.version),
            "by": info.by,
            "why": info.why,
        }
        for info in list(reversed(lake.history(name)))[:limit]
    ]


def _print_versions(versions: list[dict[str, object]]) -> None:
    if versions:
        print_table(list(versions[0]), [[shown(value) for value in version.values()] for version in versions])
