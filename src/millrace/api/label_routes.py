"""Late labels over REST: `POST /api/millrace/endpoints/{name}/labels`, as JSON records or CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from millrace.access.types import CALLER, Caller
from millrace.api.bodies import json_object, short_body
from millrace.api.rest import OWN_ENDPOINTS
from millrace.core.errors import InvalidInput, PermissionDenied
from millrace.core.names import did_you_mean
from millrace.serving.labels.late_labels import (
    LabelColumns,
    LabelSummary,
    import_labels,
    predictions_table,
    tolerance_of,
    types_of,
)
from millrace.serving.types import EndpointName
from millrace.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_BYTES = 64 << 20
_OPTIONS = ("labels", "label", "keys", "time", "tolerance_days", "dry_run")
_CALLED = "the body"
_HINT = 'send {"labels": [{"request_id": "...", "label": 1}]}, or text/csv'


class LabelRoutes:
    """The route. Who may manage an endpoint may label its predictions.

    Args:
        workspace: has the tables.
        drain: moves all that is captured now into them.
    """

    def __init__(self, workspace: Workspace, drain: Callable[[], object]) -> None:
        self._workspace, self._drain = workspace, drain

    @property
    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [Route(OWN_ENDPOINTS + "{name}/labels", self.add, methods=["POST"])]

    async def add(self, request: Request) -> Response:
        """Join labels to an endpoint's predictions; what became of them."""
        name, caller = request.path_params["name"], request.scope[CALLER]
        assert isinstance(caller, Caller)  # noqa: S101 - control sets it
        if not caller.rights.may_manage(name):
            raise PermissionDenied(
                f"{caller.name} may not label the predictions of endpoint '{name}'",
                hint="ask the owner of the home for a token that may manage it",
            )
        if request.headers.get("content-type", "").partition(";")[0].strip() == "text/csv":
            options = _from_query(request.query_params)
            kind, content = "csv", await short_body(request, _MOST_BYTES)
        else:
            options = await json_object(request, _MOST_BYTES)
            kind, content = "jsonl", _lines(options.get("labels"))
        _check_known(options)
        return JSONResponse(await run_in_threadpool(self._join, name, kind, content, options))

    def _join(self, name: str, kind: str, content: bytes, options: Mapping[str, Any]) -> dict[str, object]:
        columns, dry_run, lake = _columns(options), _dry_run(options), self._workspace.lake
        table = predictions_table(self._workspace.endpoints.get(EndpointName(name)))
        if not dry_run:
            self._drain()
        labels = _read(content, kind, types_of(lake, table, columns))
        now = self._workspace.clock.now()
        done: LabelSummary = import_labels(lake, table, labels, columns, as_of=now, dry_run=dry_run)
        return {"endpoint": name, "table": str(table), "dry_run": dry_run, **asdict(done)}


def _from_query(query: QueryParams) -> Mapping[str, Any]:
    """The options of a body that has no place for them, as JSON would have them."""
    options: dict[str, Any] = {**query, "keys": query.getlist("keys")}
    if "dry_run" in options:
        options["dry_run"] = {"true": True, "false": False}.get(options["dry_run"])
    return options


def _check_known(options: Mapping[str, Any]) -> None:
    """A misspelt option would leave its default in force, and labels would be joined otherwise than was meant."""
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise InvalidInput(f"there is no option '{unknown[0]}'", hint=did_you_mean(unknown[0], _OPTIONS))


def _dry_run(options: Mapping[str, Any]) -> bool:
    dry_run = options.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise InvalidInput("'dry_run' is neither true nor false", hint="give true or false", field="dry_run")
    return dry_run


def _read(content: bytes, kind: str, types: Mapping[str, pa.DataType]) -> pa.Table:
    from millrace.lake.importing import read_bytes

    return read_bytes(content, types, format="csv" if kind == "csv" else "jsonl", name=_CALLED)


def _lines(labels: object) -> bytes:
    """JSON records as lines, so that what is wrong is said by the number of its record, from 1."""
    if not isinstance(labels, list) or not all(isinstance(label, dict) for label in labels):
        raise InvalidInput("'labels' is not a list of objects", hint=_HINT, field="labels")
    return b"\n".join(map(orjson.dumps, labels))


def _columns(options: Mapping[str, Any]) -> LabelColumns:
    keys, days = options.get("keys") or [], options.get("tolerance_days", 1)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InvalidInput("'keys' is not a list of columns", hint='write "keys": ["customer_id"]', field="keys")
    try:
        tolerance = tolerance_of(float(days))
    except (TypeError, ValueError) as error:
        raise InvalidInput("'tolerance_days' is not a number", hint="give days, as 1.5") from error
    names = {part: options.get(part, default) for part, default in (("label", "label"), ("time", "label_time"))}
    for part, name in names.items():
        if not isinstance(name, str):
            raise InvalidInput(f"'{part}' is not the name of a column", hint="give it as text", field=part)
    return LabelColumns(names["label"], tuple(keys), names["time"], tolerance)
