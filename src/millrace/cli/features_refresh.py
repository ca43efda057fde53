"""`millrace features refresh` and `backfill`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json, PipelineFile, PipelineName
from millrace.cli.output import print_json, say
from millrace.cli.progress import progress
from millrace.core.clock import parse_time
from millrace.core.errors import InvalidInput, MillraceError, UsageError

if TYPE_CHECKING:
    from millrace.pipeline.backfill import Backfill, TableReport

From = Annotated[str | None, Parameter(name="--from", help="Make the snapshots from this time on anew.")]
To = Annotated[str | None, Parameter(name="--to", help="Make them anew up to this time, and none after it.")]
Chunk = Annotated[
    int, Parameter(name="--chunk", help="How many snapshots are made before what is done is written down.")
]
Rebuild = Annotated[bool, Parameter(name="--rebuild", negative="", help="Make all snapshots anew.")]
Table = Annotated[str | None, Parameter(help="A table that the pipeline computes; all of them by default.")]


def refresh(
    file: PipelineFile = Path("pipeline.py"),
    table: Table = None,
    *,
    pipeline: PipelineName = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Bring a pipeline's feature and label tables up to date: what is missing, and what changed."""
    from millrace.pipeline.backfill import Backfill

    return _run(file, pipeline, Backfill(table), home, json=json)


def backfill(
    file: PipelineFile,
    table: Annotated[str, Parameter(help="A table that the pipeline computes.")],
    *,
    from_: From = None,
    to: To = None,
    chunk: Chunk = 26,
    rebuild: Rebuild = False,
    pipeline: PipelineName = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Compute a table's snapshots in chunks: what is missing, or some anew. Stopped, it goes on where it was."""
    from millrace.pipeline.backfill import Backfill

    asked = Backfill(table, _time("--from", from_), _time("--to", to), rebuild, chunk)
    return _run(file, pipeline, asked, home, json=json)


def _run(file: Path, pipeline: str | None, asked: Backfill, home: Path | None, *, json: bool) -> int:
    from millrace.cli.pages import load_page
    from millrace.pipeline.backfill import backfill as compute
    from millrace.workspace import open_workspace

    declared = load_page(file, pipeline, home)
    workspace = open_workspace(home)
    try:
        with progress(plain=json) as shown:
            found = compute(workspace, declared, shown, asked)
    except BaseException as error:
        # Ctrl-C may come as another error: engines raise their own where it stops a query of theirs.
        if not isinstance(error, MillraceError):
            sys.stderr.write("stopped: the chunks that were finished are kept; the same command goes on after them\n")
        raise
    finally:
        workspace.close()
    _print(found, declared.name, json=json)
    return 0


def _print(found: Sequence[TableReport], name: str, *, json: bool) -> None:
    if json:
        tables = [
            {
                "table": report.table,
                "snapshots": report.snapshots,
                "rows": report.rows,
                "version": report.version,
                "seconds": round(report.stage.seconds, 3),
                "detail": report.stage.detail,
            }
            for report in found
        ]
        print_json({"pipeline": name, "tables": tables})
        return
    for report in found:
        say(f"{report.table}: {report.stage.detail}")
    if any(report.snapshots for report in found):
        say("published to the online store by the next `millrace run`, or by `millrace features publish`")


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except InvalidInput as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error
