"""Receiving a packed version in a home: what it needs is looked for first, then it is stored, once, however often it comes.

What is outside of our database is found again before it is made: the run by the bundle's digest, the stored model by its run, the version
by the digest too. So one that was killed anywhere between is completed by the next.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from millrace.ci.promotion.bundle import MODEL, RUN, Bundle, Need, hashes, require_equal
from millrace.ci.promotion.pack import ORIGIN_TAG
from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.pipeline.verdicts import REPORT, REPORT_TAG
from millrace.registry.trusted import require_closed
from millrace.registry.types import VersionEntry
from millrace.tracking.types import RunId
from millrace.workspace import Workspace

DIGEST_TAG = "millrace.digest"  # of a version: the hash of its model's files
_STORED = "model"


def missing(workspace: Workspace, bundle: Bundle) -> list[str]:
    """What a version needs and a home lacks: tables, columns, types, rows that are online. Empty where all is there."""
    return [line for need in bundle.needs for line in _lacking(workspace, need)]


def require_needs(workspace: Workspace, bundle: Bundle, place: str) -> None:
    """Raise InvalidState with all that is missing, where something is."""
    refuse_missing(bundle, missing(workspace, bundle), place)


def refuse_missing(bundle: Bundle, found: list[str], place: str) -> None:
    """Raise InvalidState with what is missing, where something is."""
    if found:
        raise InvalidState(
            f"{bundle.model} v{bundle.source.version} can't be served in {place}: " + "; ".join(found),
            hint="compute the features there first: `millrace features refresh` and `millrace features publish` in that home",
            missing=found,
        )


def receive(workspace: Workspace, bundle: Bundle, folder: Path) -> VersionEntry:
    """Store run, files and version. The folder's files are those that the bundle names.

    Raises:
        LawBroken: what was stored differs from what came.
        PermissionDenied: the model's folder leads out of itself.
    """
    _require_own_files(folder / MODEL)
    key = f"promoted {bundle.model} {bundle.digest}"
    run = None if bundle.run is None else _store_run(workspace, bundle, folder, key)
    uri = _store_model(workspace, bundle, folder, key, run)
    tags = {**bundle.tags, ORIGIN_TAG: json.dumps([asdict(step) for step in bundle.origin]), DIGEST_TAG: bundle.digest}
    if run is not None and REPORT in bundle.kept:
        tags |= {REPORT_TAG: workspace.tracking.where(run, REPORT)}
    entry = workspace.registry.register(bundle.model, uri, run, tags, key=key)
    require_equal(
        hashes(workspace.registry.download(entry.model, entry.version)), bundle.files, f"{entry.model} v{entry.version}"
    )
    return entry


def _store_run(workspace: Workspace, bundle: Bundle, folder: Path, key: str) -> RunId:
    tracking, told = workspace.tracking, bundle.run
    assert told is not None  # noqa: S101 - asked by the caller
    origin = {f"{ORIGIN_TAG}.{name}": str(value) for name, value in asdict(bundle.source).items() if value}
    run = tracking.start(
        told.experiment, told.name, {**told.tags, **origin, f"{ORIGIN_TAG}.started_at": told.started_at}, key=key
    )
    if tracking.get(run).status != "FINISHED":
        tracking.log(run, params=told.params, metrics=told.metrics)
        tracking.add_files(run, folder / RUN)
    return run


def _store_model(workspace: Workspace, bundle: Bundle, folder: Path, key: str, run: RunId | None) -> str:
    """The URI of the stored model; one without a training run gets a run that holds it."""
    tracking = workspace.tracking
    holder = run if run is not None else tracking.start(str(bundle.model), "promoted", {}, key=key)
    uri = tracking.logged_model(holder, _STORED) or tracking.add_model(holder, _STORED, folder / MODEL)
    if tracking.get(holder).status != "FINISHED":
        tracking.finish(holder)
    return uri


def _require_own_files(folder: Path) -> None:
    """A packed model must not name files of elsewhere."""
    from mlflow.models import Model

    from millrace.database.mlflow import tell_mlflow

    tell_mlflow()
    require_closed(folder, Model.load(str(folder)).flavors)


def _lacking(workspace: Workspace, need: Need) -> list[str]:
    if not workspace.lake.exists(need.table):
        return [f"there is no table {need.table}"]
    schema = workspace.lake.schema(need.table)
    lines = [f"{need.table} has no column {name}" for name in need.columns if name not in schema.names]
    for name, kind in need.columns.items():
        if name in schema.names and str(schema.field(name).type) != kind:
            lines.append(f"{need.table}.{name} is {schema.field(name).type}, not {kind}")
    if not lines and workspace.online.table(TableName.parse(need.table)) is None:
        lines.append(f"{need.table} is not online")
    return lines
