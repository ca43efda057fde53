"""`millrace endpoint`: list, query."""

from __future__ import annotations

from typing import Annotated

import orjson
from cyclopts import App, Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, print_table, say
from millrace.core.errors import UsageError

app = App(name="endpoint", help="List endpoints, and ask one for predictions.")


@app.command(name="list")
def list_(*, home: Home = None, json: Json = False) -> int:
    """List the endpoints and what they serve."""
    from millrace.workspace import require_home

    endpoints = require_home(home).endpoints.list()
    rows = [
        {
            "name": endpoint.name,
            "serves": ", ".join(f"{entity.entity_name} v{entity.entity_version}" for entity in endpoint.config.served),
            "ready": endpoint.state.ready,
            "config_update": endpoint.state.config_update,
            "message": endpoint.state.message,
        }
        for endpoint in endpoints
    ]
    if json:
        print_json({"endpoints": rows})
    elif rows:
        print_table(["endpoint", "serves", "ready", "last change", ""], [list(row.values()) for row in rows])
    else:
        say("there are no endpoints yet; a pipeline makes them: millrace run")
    return 0


@app.command
def query(
    name: str,
    records: Annotated[str, Parameter(help="One record or a list of them, as JSON: '{\"customer_id\": 7}'.")],
    *,
    home: Home = None,
    json: Json = False,
) -> int:
    """Ask an endpoint for predictions, with the home's server, or one that is started for the question."""
    from millrace.cli.run import open_target
    from millrace.workspace import require_home

    rows = _records(records)
    workspace = require_home(home)
    try:
        with open_target(workspace) as target:
            answers = target.query(name, rows)
    finally:
        workspace.close()
    if json:
        print_json(
            {
                "predictions": list(answers.predictions),
                "probabilities": list(answers.probabilities) if answers.probabilities else None,
                "model_version": answers.model_version,
                "request_id": answers.request_id,
            }
        )
        return 0
    probabilities = answers.probabilities or [None] * len(rows)
    print_table(
        ["record", "prediction", "probability"],
        zip((str(row) for row in rows), answers.predictions, probabilities, strict=True),
    )
    say(f"by v{answers.model_version}, request {answers.request_id}")
    return 0


def _records(text: str) -> list[dict[str, object]]:
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(
            f"the records are not JSON: {error}", hint="write '{\"customer_id\": 7}', in single quotes for the shell"
        ) from error
    rows = given if isinstance(given, list) else [given]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise UsageError("the records are not JSON objects", hint="write '{\"customer_id\": 7}' or a list of such")
    return rows
