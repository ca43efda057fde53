"""`millrace automl`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from millrace.automl.lines import Lines, best_so_far, told
from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from millrace.automl.summary import AutoMLSummary
    from millrace.automl.types import Search, Trial

_SHOWN = 8

Columns = Annotated[
    list[str] | None, Parameter(name="--exclude", negative="", help="A column that no model sees; may be repeated.")
]
Frameworks = Annotated[
    list[str] | None,
    Parameter(
        name="--exclude-framework", negative="", help="sklearn, lightgbm, xgboost, linear or hist_gb; may be repeated."
    ),
]


def automl(
    table: Annotated[str, Parameter(help="A table of the lake.")],
    target: Annotated[str, Parameter(help="The column to predict.")],
    *,
    minutes: Annotated[float, Parameter(help="The time for everything.")] = 5.0,
    task: Annotated[
        str | None, Parameter(help="classify or regress; by default as the target's values suggest.")
    ] = None,
    metric: Annotated[str | None, Parameter(help="What it aims at: log_loss by default, rmse for numbers.")] = None,
    time_col: Annotated[str | None, Parameter(help="Judge on rows later than those that are fitted on.")] = None,
    group_col: Annotated[str | None, Parameter(help="Keep rows with the same value together.")] = None,
    split_col: Annotated[str | None, Parameter(help="A column with train, validate and test.")] = None,
    sample_weight_col: Annotated[str | None, Parameter(help="What each row weighs.")] = None,
    exclude: Columns = None,
    exclude_framework: Frameworks = None,
    latency: Annotated[str, Parameter(help="normal, or low: one refit instead of a bag.")] = "normal",
    max_trials: Annotated[int | None, Parameter(help="How many trials at most.")] = None,
    experiment: Annotated[str | None, Parameter(help="The MLflow experiment.")] = None,
    register: Annotated[str | None, Parameter(help="Register the model by this name, as ml.models.churn.")] = None,
    engine: Annotated[
        str, Parameter(help="millrace; or flaml or autogluon, in an environment of its own.")
    ] = "millrace",
    seed: Annotated[int, Parameter(help="Of all random choices.")] = 0,
    home: Home = None,
    json: Json = False,
) -> int:
    """Search a model for a table: cheap ones first, then what Optuna proposes, until the time is up. Ctrl-C ends it early."""
    _check(latency, register)
    search = _search(task, table, target, home)
    more = {} if metric is None else {"primary_metric": metric}
    with _display(plain=json) as watch:
        found: AutoMLSummary = search(
            table,
            target,
            minutes=minutes,
            time_col=time_col,
            group_col=group_col,
            split_col=split_col,
            sample_weight_col=sample_weight_col,
            exclude_cols=exclude or (),
            exclude_frameworks=exclude_framework or (),
            experiment_name=experiment,
            max_trials=max_trials,
            latency=latency,
            seed=seed,
            home=home,
            watch=watch,
            engine=engine,
            **more,
        )
        found.recording.wait()  # while it is shown that something is still being done
    version = None if register is None else found.register(register)
    if json:
        print_json(_facts(found, register, version))
        return 0
    say(str(found))
    if version is not None:
        say(f"registered as version {version} of {register}")
    return 0


def _check(latency: str, register: str | None) -> None:
    """Before the time is spent: a name that can't be registered is found out last."""
    from millrace.core.errors import UsageError

    if latency not in {"normal", "low"}:
        raise UsageError(f"--latency is '{latency}'", hint="give normal or low")
    if register is not None and (not register.strip() or set(register) & set("/:")):
        raise UsageError(f"--register is '{register}'", hint="a model's name holds letters, digits, dots, _ and -")


def _search(task: str | None, table: str, target: str, home: Any) -> Any:
    """`classify` or `regress`. A number of more than 20 values is no class, unless the user says so."""
    from contextlib import closing

    from millrace.automl.search import classify, regress
    from millrace.core.errors import UsageError
    from millrace.workspace import require_home

    known = {"classify": classify, "regress": regress}
    if task is not None:
        if task not in known:
            raise UsageError(f"--task is '{task}'", hint="give classify or regress")
        return known[task]
    with closing(require_home(home)) as workspace:
        if target not in workspace.lake.schema(table).names:
            return classify  # which refuses it, with the nearest name
        return known[_suggested(workspace.lake.read(table, columns=[target]).column(target))]


def _suggested(column: Any) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)
    return "regress" if number and pc.count_distinct(column).as_py() > 20 else "classify"  # noqa: PLR2004 - see above


@contextmanager
def _display(*, plain: bool) -> Iterator[Any]:
    if plain or not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.live import Live

    board = Board()
    with Live(get_renderable=board.render, console=Console(stderr=True, highlight=False), refresh_per_second=4):
        yield board


@dataclass(slots=True)
class Board:
    """The last trials, the best, and the time that is left, drawn anew four times a second."""

    search: Search | None = None
    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None
    end: float = math.nan

    def begun(self, search: Search) -> None:
        """Remember what is searched."""
        self.search, self.trials = search, list(search.trials)
        self.end = time.monotonic() + search.budget_s

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        """Remember it."""
        self.trials.append(trial)
        self.best, self.end = best, time.monotonic() + left_s

    def render(self) -> RenderableType:
        """As it stands now."""
        from rich.console import Group
        from rich.text import Text

        if self.search is None:
            return Text("looking at the data")
        left = max(self.end - time.monotonic(), 0.0)
        state = f"{left:.0f} s left" if left else "making the final model, writing its runs"
        lines = [Text(f"{len(self.trials)} trials; {best_so_far(self.best)}; {state}", "bold")]
        lines += [Text(f"  {told(trial)}", _STYLES.get(trial.state, "")) for trial in self.trials[-_SHOWN:]]
        return Group(*lines)


_STYLES = {"pruned": "dim", "failed": "red", "stopped": "yellow"}


def _facts(found: AutoMLSummary, name: str | None, version: str | None) -> dict[str, object]:
    search, final = found.search, found.final
    return {
        "experiment": found.experiment,
        "run_id": search.run_id,
        "model_uri": found.model_uri,
        "model": name,
        "version": version,
        "task": search.problem.task,
        "metric": search.problem.metric,
        "final": {
            "kind": final.kind,
            "score": final.score,
            "why": final.why,
            "members": [{"trial": member.trial, "weight": member.weight} for member in final.members],
        },
        "seconds": search.seconds,
        "interrupted": found.interrupted,
        "warnings": list(search.dataset.warnings),
        "importance": [{"column": each.column, "loss": each.loss} for each in search.importance],
        "trials": [
            {
                "number": trial.number,
                "name": trial.name,
                "state": trial.state,
                "score": None if math.isnan(trial.score) else trial.score,
                "seconds": trial.seconds,
                "default": trial.default,
                "params": dict(trial.params),
                "run_id": trial.run_id,
                "notebook": trial.notebook,
                "error": trial.error,
            }
            for trial in search.trials
        ],
    }
