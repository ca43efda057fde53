"""`millrace features audit`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json, PipelineFile, PipelineName
from millrace.cli.output import print_json, print_table, say
from millrace.core.clock import iso, parse_time
from millrace.core.errors import InvalidInput, InvalidState, UsageError
from millrace.core.processes import is_alive

if TYPE_CHECKING:
    from datetime import datetime

    from millrace.pipeline.audit.findings import AuditReport
    from millrace.pipeline.audit.job import Answer, Job

_EXIT_LEAK = 3
_PREFIX = "audit-"
_CHILD = "millrace.cli.features_audit_child"
# Where the child's tables, databases and engine are is not for the environment to say: all are in its scratch home.
_NOT_FOR_CHILDREN = ("MILLRACE_DATABASE_URL", "MILLRACE_MLFLOW_URL", "MILLRACE_WAREHOUSE", "MILLRACE_SPARK_REMOTE")
_PATIENCE_S = 5.0
_SHOWN_LINES = 5

Times = Annotated[
    list[str] | None,
    Parameter(
        name="--as-of",
        negative="",
        help="Audit as of this time; may be repeated. Three, spread over the history, by default.",
    ),
]
Count = Annotated[int, Parameter(name="--times", help="How many times, where none is named.")]
Quick = Annotated[
    bool, Parameter(name="--quick", negative="", help="One time, and the future altered but not removed.")
]
Accept = Annotated[
    list[str] | None,
    Parameter(
        name="--accept",
        negative="",
        help="Take the risk of this table without history, or of this column; may be repeated.",
    ),
]
Auc = Annotated[float, Parameter(name="--auc", help="A column that alone ranks the label this well is a leak.")]
Purity = Annotated[
    float, Parameter(name="--purity", help="Categories that alone explain this share of the label are a leak.")
]
MinRows = Annotated[
    int, Parameter(name="--min-rows", help="With fewer training rows, columns are not compared with the label.")
]


def audit(
    file: PipelineFile = Path("pipeline.py"),
    *,
    pipeline: PipelineName = None,
    as_of: Times = None,
    times: Count = 3,
    quick: Quick = False,
    accept: Accept = None,
    auc: Auc = 0.995,
    purity: Purity = 0.98,
    min_rows: MinRows = 100,
    home: Home = None,
    json: Json = False,
) -> int:
    """Look for leaks: what is computed as of a time must stay the same when the future changes. Exit code 3 where it does not."""
    from millrace.cli.pages import load_page
    from millrace.cli.progress import progress
    from millrace.pipeline.audit.audit import Options, audit_pipeline
    from millrace.pipeline.audit.job import Thresholds
    from millrace.workspace import require_home

    _check(times, auc, purity, min_rows)
    options = Options(
        as_of=[_time(text) for text in as_of or []],
        count=times,
        quick=quick,
        accept=frozenset(accept or ()),
        thresholds=Thresholds(auc, purity, min_rows),
    )
    declared = load_page(file, pipeline, home)
    workspace = require_home(home)
    try:
        with child_processes(workspace.home) as runner, progress(plain=json) as shown:
            report = audit_pipeline(workspace, declared, file.resolve(), options, runner=runner, progress=shown)
    finally:
        workspace.close()
    _print(report, json=json)
    if not report.audited:
        raise InvalidInput(
            f"nothing could be audited in {report.pipeline}",
            hint="name other times with --as-of, or import more history",
        )
    return _EXIT_LEAK if report.leaks else 0


class ChildProcesses:
    """Does each job in a process of its own, in a scratch home under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made = 0

    def run(self, job: Job) -> Answer:
        """Do it and wait; the scratch home is gone when this returns.

        Raises:
            InvalidState: the process died without an answer.
        """
        from millrace.pipeline.audit.job import ANSWER, Answer

        self._made += 1
        folder = self._root / str(self._made)
        home = folder / "home"
        home.mkdir(parents=True)
        job.save(folder)
        try:
            code = _wait(folder, home)
        finally:
            shutil.rmtree(home, ignore_errors=True)
        if not (folder / ANSWER).is_file():
            lines = (folder / "log").read_text(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
            raise InvalidState(
                f"a process of the audit ended with code {code}: {' | '.join(lines)}", hint="please report this"
            )
        return Answer.load(folder)


@contextmanager
def child_processes(home: Path) -> Iterator[ChildProcesses]:
    """A runner whose files are on the home's file system, so that tables are linked and not copied, and are removed at the end."""
    place = home if os.access(home, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(place)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place, ignore_cleanup_errors=True) as root:
        yield ChildProcesses(Path(root))


def _sweep(place: Path) -> None:
    """Remove what audits left that were killed."""
    for folder in place.glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdecimal() and not is_alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _wait(folder: Path, home: Path) -> int:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", _CHILD, str(folder)],
            env=_environment(home),
            stdin=subprocess.PIPE,  # never written to: that it closes tells the child that we are gone
            stdout=log,
            stderr=log,
        )
        try:
            return process.wait()
        finally:
            if process.poll() is None:  # interrupted
                process.terminate()
                _end(process)
            if process.stdin is not None:
                process.stdin.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment(home: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN}
    return {**kept, "MILLRACE_HOME": str(home), "TZ": "UTC"}


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except InvalidInput as error:
        raise UsageError(f"--as-of: {error.message}", hint=error.hint) from error


def _check(times: int, auc: float, purity: float, min_rows: int) -> None:
    if times < 1 or min_rows < 1:
        raise UsageError("--times and --min-rows are whole numbers from 1", hint="leave them out for the defaults")
    if not (0.5 < auc <= 1 and 0 < purity <= 1):  # noqa: PLR2004 - half is chance
        raise UsageError("--auc lies in (0.5, 1], --purity in (0, 1]", hint="leave them out for the defaults")


def _print(report: AuditReport, *, json: bool) -> None:
    from millrace.pipeline.audit.job import finding_document

    if json:
        print_json(
            {
                "pipeline": report.pipeline,
                "leaks": len(report.leaks),
                "as_of": [iso(time) for time in report.as_of],
                "findings": [finding_document(finding) for finding in report.findings],
            }
        )
        return
    print_table(
        ["", "check", "about", "what was found"],
        [(one.severity, one.check, one.subject, one.fact) for one in report.findings],
    )
    hints = (f"{one.subject}: {one.hint}" for one in report.findings if one.hint and one.severity != "ok")
    for hint in dict.fromkeys(hints):
        say(hint)
    leaks = len(report.leaks)
    if leaks:
        say(f"{leaks} {'leak' if leaks == 1 else 'leaks'} in {report.pipeline}")
    elif report.audited:
        say(f"no leak found in {report.pipeline}")
