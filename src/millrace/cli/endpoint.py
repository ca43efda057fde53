"""`millrace endpoint`: list, show, query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from cyclopts import App, Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_facts, print_json, print_table, say
from millrace.core.errors import UsageError

if TYPE_CHECKING:
    from millrace.serving.canary.types import CanaryRun
    from millrace.serving.types import Endpoint
    from millrace.workspace import Workspace

app = App(name="endpoint", help="List endpoints, ask one, and decide who takes its traffic.")
_TRAFFIC = "millrace.cli.endpoint_traffic"
app.command(f"{_TRAFFIC}:traffic", name="traffic", help="Split the traffic of an endpoint by percent.")
app.command(f"{_TRAFFIC}:shadow", name="shadow", help="Copy requests to a version whose answers are only logged.")
app.command(f"{_TRAFFIC}:canary", name="canary", help="Let a version take over step by step, with verdicts between.")
app.command(f"{_TRAFFIC}:rollback", name="rollback", help="Serve again what an endpoint served before.")


@app.command(name="list")
def list_(*, home: Home = None, json: Json = False) -> int:
    """List the endpoints and what they serve. Where a server runs, ready are those that it answers for."""
    from millrace.api.discovery import not_answered
    from millrace.workspace import require_home

    workspace = require_home(home)
    lacking = not_answered(workspace.home)
    rows = [
        {
            "name": endpoint.name,
            "serves": ", ".join(str(entity) for entity in endpoint.config.served),
            "ready": endpoint.state.ready and endpoint.name not in lacking,
            "config_update": endpoint.state.config_update,
            "message": lacking.get(endpoint.name, endpoint.state.message),
        }
        for endpoint in workspace.endpoints.list()
    ]
    if json:
        print_json({"endpoints": rows})
    elif rows:
        print_table(["endpoint", "serves", "ready", "last change", ""], [list(row.values()) for row in rows])
    else:
        say("there are no endpoints yet; a pipeline makes them: millrace run")
    return 0


@app.command
def show(name: str, *, home: Home = None, json: Json = False) -> int:
    """Show what an endpoint serves, how it stands, and where it is asked."""
    from millrace.api.discovery import find_server, not_answered, told_of
    from millrace.serving.types import EndpointName
    from millrace.workspace import require_home

    workspace = require_home(home)
    endpoint, server = workspace.endpoints.get(EndpointName(name)), find_server(workspace.home)
    facts = _facts(endpoint, server.url if server else None)
    why = not_answered(workspace.home).get(endpoint.name)
    if why is not None:
        facts |= {"ready": False, "message": why}
    entities = _entities(endpoint, told_of(workspace.home, endpoint.name))
    if json:
        print_json({**facts, "entities": entities, "canary": _canary(endpoint)})
        return 0
    print_facts(facts)
    if entities:
        columns = ["entity", "serves", "% of traffic", "% in shadow", "asleep", "how it answers"]
        print_table(columns, [list(row.values()) for row in entities])
    if endpoint.canary is not None:
        _print_canary(endpoint.canary)
    return 0


@app.command
def query(
    name: str,
    records: Annotated[str, Parameter(help="One record or a list of them, as JSON: '{\"customer_id\": 7}'.")],
    *,
    home: Home = None,
    json: Json = False,
) -> int:
    """Ask an endpoint for predictions or features, with the home's server, or one that is started for the question."""
    from millrace.serving.types import EndpointName
    from millrace.workspace import require_home

    rows = _records(records)
    workspace = require_home(home)
    try:
        kind = workspace.endpoints.get(EndpointName(name)).config.kind
        ask = _features if kind == "features" else _predictions
        ask(workspace, name, rows, json=json)
    finally:
        workspace.close()
    return 0


def _predictions(workspace: Workspace, name: str, rows: Sequence[Mapping[str, object]], *, json: bool) -> None:
    from millrace.workspace import open_target

    with open_target(workspace) as target:
        answers = target.query(name, rows)
    if json:
        print_json(
            {
                "predictions": list(answers.predictions),
                "probabilities": list(answers.probabilities) if answers.probabilities else None,
                "model_version": answers.model_version,
                "request_id": answers.request_id,
            }
        )
        return
    probabilities = answers.probabilities or [None] * len(rows)
    print_table(
        ["record", "prediction", "probability"],
        zip((str(row) for row in rows), answers.predictions, probabilities, strict=True),
    )
    say(f"by v{answers.model_version}, request {answers.request_id}")


def _features(workspace: Workspace, name: str, rows: Sequence[Mapping[str, object]], *, json: bool) -> None:
    from millrace.api.auth import home_token
    from millrace.api.discovery import running_server

    with running_server(workspace.home) as server:
        target = workspace.feature_target(server.url, home_token(workspace.home), server.certificate)
        answers = target.ask(name, rows)
    if json:
        print_json({"outputs": answers.outputs, "served": answers.served, "request_id": answers.request_id})
        return
    columns = list(answers.outputs[0])
    shown = [[str(row), *found.values()] for row, found in zip(rows, answers.outputs, strict=True)]
    print_table(["record", *columns], shown)
    say(f"by {answers.served}, request {answers.request_id}")


def _facts(endpoint: Endpoint, url: str | None) -> dict[str, object]:
    capture = endpoint.config.capture
    return {
        "name": endpoint.name,
        "serves": endpoint.config.kind or "nothing yet",
        "ready": endpoint.state.ready,
        "config_update": endpoint.state.config_update,
        "message": endpoint.state.message,
        "generation": endpoint.generation,
        "previous": ", ".join(str(entity) for entity in endpoint.previous.config.served) if endpoint.previous else None,
        "owner": endpoint.owner,
        "updated_at": endpoint.updated_at,
        "capture": f"{capture.catalog}.{capture.schema}.{capture.prefix}_payload"
        if capture and capture.enabled
        else None,
        "missing_keys": endpoint.config.missing_keys or "default",
        "extra_columns": endpoint.config.extra_columns or "ignore",
        "url": f"{url}/serving-endpoints/{endpoint.name}/invocations" if url else None,
    }


def _entities(endpoint: Endpoint, told: Mapping[str, Any]) -> list[dict[str, object]]:
    """`told` is what the server says of the endpoint; empty where none runs."""
    paths, sleeping = {**endpoint.state.paths, **told.get("paths", {})}, told.get("asleep", ())
    return [
        {
            "name": entity.name,
            "serves": str(entity),
            "traffic": endpoint.config.traffic.get(entity.name, 0),
            "shadow": endpoint.config.shadow.get(entity.name, 0),
            "asleep": entity.name in sleeping,
            "path": paths.get(entity.name, ""),
        }
        for entity in endpoint.config.served
    ]


def _canary(endpoint: Endpoint) -> dict[str, object] | None:
    from millrace.serving.canary.documents import run_document

    return None if endpoint.canary is None else run_document(endpoint.canary)


def _print_canary(run: CanaryRun) -> None:
    shares = ", ".join(f"{share} %" for share in run.canary.settings.shares)
    print_facts(
        {
            "canary": f"{run.model} v{run.version} takes over from {run.canary.champion}: {shares}",
            "outcome": run.outcome.replace("_", " "),
            "share": f"{run.share} %",
            "since": run.since,
            "message": run.message,
        }
    )
    rows = [
        (f"{step.share} %", step.at, step.verdict.decision, finding.reason)
        for step in run.verdicts
        for finding in step.verdict.findings
    ]
    if rows:
        print_table(["step", "judged", "verdict", "signal"], rows)


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
