"""`millrace backtest`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from millrace.cli.options import Home, Json, PipelineFile, PipelineName
from millrace.cli.output import print_json, print_table, say
from millrace.core.clock import parse_time
from millrace.core.errors import InvalidInput, UsageError
from millrace.core.names import TableName, did_you_mean

if TYPE_CHECKING:
    from millrace.pipeline.backtest.types import Policy, Prepared
    from millrace.pipeline.declare import Pipeline
    from millrace.pipeline.upkeep import Retrain
    from millrace.workspace import Workspace

_FOLDER = "backtests"
_DEFAULT = ("never", "monthly", "drift", "loss")
_SPAN = re.compile(r"([1-9][0-9]{0,3})(h|d|w)")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

From = Annotated[str, Parameter(name="--from", help="The first decision, as 2025-01-06.")]
To = Annotated[str, Parameter(name="--to", help="The last decision; labels known by then count.")]
Step = Annotated[str, Parameter(name="--step", help="The time between two decisions: 1d, 7d, 2w, 12h.")]
Policies = Annotated[
    list[str] | None,
    Parameter(
        name="--policy",
        negative="",
        help="never, monthly, drift, loss, estimate, own (the pipeline's), or the name of a Retrain in the file; may be repeated.",
    ),
]
Changes = Annotated[
    list[str] | None,
    Parameter(
        name="--change",
        negative="",
        help="A day on which something is known to have changed: alarms after it are no false ones; may be repeated.",
    ),
]


def backtest(
    file: PipelineFile = Path("pipeline.py"),
    *,
    start: From,
    end: To,
    step: Step = "1d",
    policy: Policies = None,
    change: Changes = None,
    pipeline: PipelineName = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Replay the whole loop over the lake's own history under several retraining policies, and recommend one.

    Production is not touched. A backtest that was stopped goes on where it was; one that is finished answers at once.
    """
    from millrace.cli.pages import load_page
    from millrace.pipeline.backtest.plan import prepare
    from millrace.pipeline.backtest.types import Ask
    from millrace.workspace import require_home

    declared = load_page(file, pipeline, home)
    ask = Ask(
        start=_time("--from", start),
        end=_time("--to", end),
        step=_span(step),
        policies=_policies(declared, file, policy or _DEFAULT),
        changes=tuple(sorted(_time("--change", day) for day in change or ())),
    )
    workspace = require_home(home)
    try:
        found, report = _find(workspace, declared, prepare(workspace, declared, ask), plain=json)
    finally:
        workspace.close()
    if json:
        print_json({**found, "report": str(report)})
    else:
        _print(found, report)
    return 0


def _find(
    workspace: Workspace, declared: Pipeline, prepared: Prepared, *, plain: bool
) -> tuple[Mapping[str, Any], Path]:
    from millrace.cli.progress import progress
    from millrace.pipeline.backtest.backtest import Backtest
    from millrace.pipeline.backtest.plan import result_key
    from millrace.pipeline.backtest.report.page import page
    from millrace.pipeline.backtest.scratch import fill_home
    from millrace.pipeline.backtest.store import Kept
    from millrace.pipeline.definition import computed_tables
    from millrace.workspace.beside import open_beside

    kept = Kept(workspace.home / _FOLDER / prepared.id)
    own = {TableName.parse(table.name) for table in computed_tables(declared)}
    with kept.alone():
        folder = kept.folder("home", lambda path: fill_home(path, workspace.settings.database_url, own))
        scratch = open_beside(workspace, folder)
        try:
            with progress(plain=plain) as shown:
                found = Backtest(scratch, declared, prepared, kept, shown).run()
        finally:
            scratch.close()
        report = f"report-{result_key(declared, prepared.ask)}.html"
        kept.write_text(report, page(found))
    return found, kept.root / report


def _policies(declared: Pipeline, file: Path, names: Sequence[str]) -> tuple[Policy, ...]:
    from millrace.pipeline.backtest.types import Policy

    known = known_policies(declared, file)
    for name in names:
        if name not in known:
            raise UsageError(f"there is no policy '{name}'", hint=did_you_mean(name, known), policy=name)
    return tuple(Policy(name, known[name]) for name in dict.fromkeys(names))


def known_policies(declared: Pipeline, file: Path) -> Mapping[str, Retrain]:
    """Every policy that a pipeline can be tried under, by name: those that come along, its own, and those of its file, which was loaded.

    Raises:
        InvalidInput: the file has another policy under the name of one that comes along.
    """
    from millrace.pipeline.load import MODULE
    from millrace.pipeline.policy import named_policies
    from millrace.pipeline.upkeep import Retrain

    page = vars(sys.modules.get(MODULE.format(file.stem)) or object)
    custom = {name: value for name, value in page.items() if isinstance(value, Retrain)}
    own = {"own": declared.retrain} if declared.retrain is not None else {}
    known = {**named_policies(declared.retrain), **own}
    if taken := sorted({*known, "own"} & set(custom)):
        raise InvalidInput(
            f"{file} calls a Retrain `{taken[0]}`, which is the name of a policy that comes along",
            hint="give it another name",
        )
    return {**known, **custom}


def _time(option: str, text: str) -> datetime:
    try:
        return parse_time(text)
    except InvalidInput as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise UsageError(f"--step {text} is not a span of time", hint="write 1d, 7d, 2w or 12h")
    return int(found[1]) * _UNITS[found[2]]


def _print(found: Mapping[str, Any], report: Path) -> None:
    from millrace.pipeline.backtest.report.words import headline, remarks, summary

    columns, rows = summary(found)
    print_table(columns, rows, title=headline(found))
    for text in remarks(found):
        say(text)
    advice = found["recommendation"]
    say(f"recommended: {advice['policy']}, because {advice['reason']}")
    say(f"report: {report}")
