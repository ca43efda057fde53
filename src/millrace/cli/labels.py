"""`millrace labels`: import."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_facts, print_json, say

if TYPE_CHECKING:
    from millrace.serving.labels.late_labels import LabelSummary
    from millrace.workspace import Workspace

app = App(name="labels", help="Join late labels to predictions.")


@app.command(name="import")
def import_(
    endpoint: str,
    file: Path,
    *,
    label: Annotated[str, Parameter(help="The column with the label.")] = "label",
    key: Annotated[
        list[str] | None,
        Parameter(negative="", help="A column of the key, where the file has no request_id; may be repeated."),
    ] = None,
    time: Annotated[str, Parameter(help="The column with the label's time, where it goes by key.")] = "label_time",
    tolerance_days: Annotated[
        float, Parameter(help="By how much a prediction may be later than its label's time.")
    ] = 1,
    file_format: Annotated[
        Literal["csv", "parquet", "jsonl"] | None,
        Parameter(name="--format", help="What the file is, where its ending does not say."),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Only tell what would be done; nothing is drained either.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Give an endpoint's predictions their labels from a CSV, Parquet or JSON lines file: by request_id, or by key and time.

    A prediction that has a label keeps it, so a file may be imported again.
    """
    from millrace.lake.importing import read_file
    from millrace.serving.labels.late_labels import (
        LabelColumns,
        import_labels,
        predictions_table,
        tolerance_of,
        types_of,
    )
    from millrace.serving.types import EndpointName
    from millrace.workspace import require_home

    columns = LabelColumns(label, tuple(key or ()), time, tolerance_of(tolerance_days))
    with closing(require_home(home)) as workspace:
        table = predictions_table(workspace.endpoints.get(EndpointName(endpoint)))
        if not dry_run:
            _drain(workspace)
        labels = read_file(file, types_of(workspace.lake, table, columns), format=file_format)
        done = import_labels(workspace.lake, table, labels, columns, as_of=workspace.clock.now(), dry_run=dry_run)
    if json:
        print_json({"endpoint": endpoint, "table": str(table), "dry_run": dry_run, **asdict(done)})
        return 0
    _tell(done, dry_run=dry_run)
    return 0


def _tell(done: LabelSummary, *, dry_run: bool) -> None:
    print_facts(
        {
            "rows": done.rows,
            "labels": done.labels,
            "predictions that would get theirs" if dry_run else "predictions that got theirs": done.joined,
            "that had it already": done.already,
            "that have another, and keep it": done.conflicting,
            "labels without a prediction": done.unmatched,
        }
    )
    if dry_run:
        say("nothing was written")


def _drain(workspace: Workspace) -> None:
    """Predictions that still wait in the capture come first: their labels may be among these."""
    from millrace.api.channel import Unanswered
    from millrace.api.draining import drain_there
    from millrace.api.runtime import socket_folder
    from millrace.serving.capture.drain import drain
    from millrace.targets.local_server import is_served

    if is_served(workspace.home):
        try:
            drain_there(socket_folder(workspace.home))
        except Unanswered:
            if is_served(workspace.home):
                raise
        else:
            return
    drain(workspace.lake, workspace.capture_root)  # nobody else is there, or it has stopped meanwhile
