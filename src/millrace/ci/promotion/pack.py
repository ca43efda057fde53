"""Packing a version: all that makes it what it is, out of a home."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.ci.promotion.bundle import DOCUMENT, MODEL, RUN, Bundle, KeptRun, Need, Step, hashes
from millrace.ci.reports.write import write_text
from millrace.ci.stages.scene import DEPLOYMENT_TAG
from millrace.ci.stages.validate import VERDICT
from millrace.core.clock import iso
from millrace.core.errors import NotFound
from millrace.features.spec import from_json
from millrace.pipeline.release import DEFINITION, GROUP, WHY
from millrace.pipeline.rollback import DEPLOYMENT
from millrace.pipeline.verdicts import REPORT_TAG
from millrace.registry.types import VersionEntry
from millrace.tracking.types import RunId
from millrace.training.models import feature_spec_of
from millrace.workspace import Workspace

ORIGIN_TAG = "millrace.origin"  # of a version that came from elsewhere: its steps, as JSON
_NOT_CARRIED = {"millrace.key", "millrace.created_at", "millrace.source", GROUP, WHY, ORIGIN_TAG, REPORT_TAG}


def pack(workspace: Workspace, entry: VersionEntry, place: str, into: Path) -> Bundle:
    """Write a version into an empty folder.

    Args:
        workspace: where it is.
        entry: the version.
        place: what this home is called: a target's name.
        into: the folder.
    """
    folder = workspace.registry.download(entry.model, entry.version)
    shutil.copytree(folder, into / MODEL, symlinks=True)
    (into / RUN).mkdir()
    if entry.run_id is not None:
        workspace.tracking.copy_files(RunId(entry.run_id), into / RUN)
    bundle = Bundle(
        model=entry.model,
        tags=_carried(entry.tags),
        origin=(*origin_of(entry), Step(place, str(entry.version), entry.run_id, iso(entry.created_at))),
        files=hashes(into / MODEL),
        kept=hashes(into / RUN),
        run=_run(workspace, entry),
        needs=_needs(workspace, folder),
        verdict=verdict_of(workspace, entry),
        deployment=deployment_of(workspace, entry),
    )
    write_text(into / DOCUMENT, bundle.to_json())
    return bundle


def origin_of(entry: VersionEntry) -> tuple[Step, ...]:
    """Where a version was before it came here, oldest first; empty where it was trained here."""
    return tuple(Step(**step) for step in json.loads(entry.tags.get(ORIGIN_TAG, "[]")))


def verdict_of(workspace: Workspace, entry: VersionEntry) -> Mapping[str, Any]:
    """What the gates said of a version: as its promotion, else its training run keeps it; empty where neither does."""
    for move in reversed(workspace.promotions.read(entry.model)):
        if move.version == entry.version and move.verdict.get("results"):
            return {"passed": True, **move.verdict}
    if entry.run_id is None:
        return {}
    try:
        kept = json.loads(workspace.tracking.read_text(RunId(entry.run_id), VERDICT))
    except (NotFound, ValueError):
        return {}
    metrics = kept.get("metrics") or {}
    return {**kept, "metrics": metrics.get(kept.get("winner"), metrics), "definition": entry.tags.get(DEFINITION)}


def deployment_of(workspace: Workspace, entry: VersionEntry) -> Mapping[str, Any]:
    """Where a version is served: as CI wrote down, else as its promotion did; empty where neither did."""
    if DEPLOYMENT_TAG in entry.tags:
        found: Mapping[str, Any] = json.loads(entry.tags[DEPLOYMENT_TAG])
        return found
    for move in reversed(workspace.promotions.read(entry.model)):
        kept = move.verdict.get(DEPLOYMENT)
        if isinstance(kept, Mapping):
            return {"staging": f"{kept['endpoint']}-staging", **kept}
    return {}


def _carried(tags: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in tags.items()
        if name not in _NOT_CARRIED and not name.startswith(("millrace.alias.", "mlflow."))
    }


def _run(workspace: Workspace, entry: VersionEntry) -> KeptRun | None:
    if entry.run_id is None:
        return None
    run = workspace.tracking.get(RunId(entry.run_id))
    return KeptRun(
        run.experiment, run.name, iso(run.started_at), dict(run.params), dict(run.metrics), _carried(run.tags)
    )


def _needs(workspace: Workspace, folder: Path) -> tuple[Need, ...]:
    """The tables of the model's own lookups, with the columns that are read of each."""
    text = feature_spec_of(folder)
    columns: dict[str, dict[str, str]] = {}
    for lookup in from_json(text).lookups if text else ():
        found = columns.setdefault(lookup.table_name, {})
        if not workspace.lake.exists(lookup.table_name):
            continue
        schema, entry = workspace.lake.schema(lookup.table_name), workspace.lake.entry(lookup.table_name)
        keys = entry.definition.primary_keys
        names = schema.names if lookup.feature_names is None else [*keys, *lookup.feature_names]
        found.update({name: str(schema.field(name).type) for name in names if name in schema.names})
    return tuple(Need(table, found) for table, found in columns.items())
