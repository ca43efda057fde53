"""`millrace features`: what is done with feature tables."""

from __future__ import annotations

from cyclopts import App

app = App(name="features", help="List, show, refresh, publish and audit feature tables.")
_TABLES = "millrace.cli.features_tables"
app.command(f"{_TABLES}:list_", name="list", help="List the feature tables, and how fresh they are.")
app.command(f"{_TABLES}:show", name="show", help="Show a feature table: columns, keys, rules, freshness, versions.")
app.command(
    f"{_TABLES}:history", name="history", help="Show who changed a feature table, when, why, and how many rows."
)
app.command(f"{_TABLES}:delete", name="delete", help="Delete the rows of some keys.")
app.command(
    "millrace.cli.features_functions:functions", name="functions", help="List the feature functions, or show one."
)
app.command("millrace.cli.features_specs:specs", name="specs", help="List the named feature specs, or show one.")
app.command("millrace.cli.features_audit:audit", name="audit", help="Look for leaks: change the future, compute again.")
_PUBLISH = "millrace.cli.features_publish"
app.command(f"{_PUBLISH}:publish", name="publish", help="Bring the online store up to date with a feature table.")
app.command(f"{_PUBLISH}:online", name="online", help="List what is online, and how fresh it is.")
_REFRESH = "millrace.cli.features_refresh"
app.command(f"{_REFRESH}:refresh", name="refresh", help="Bring a pipeline's tables up to date.")
app.command(f"{_REFRESH}:backfill", name="backfill", help="Compute a table in chunks: what is missing, or some anew.")
