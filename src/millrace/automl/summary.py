"""What a user gets back from a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.automl.record.messages import Logged
from millrace.automl.record.recording import Recording
from millrace.automl.record.writer import SEARCH
from millrace.automl.types import Final, Search, Trial

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 10


@dataclass(frozen=True)
class AutoMLSummary:
    """A finished search. Printing it gives the leaderboard.

    The model is there at once. Where the time was too short for MLflow's runs too, they are still being written, and what needs them
    waits for them: `model_uri`, `search`, `trials`, `notebooks`, printing. A program that ends waits for them too.

    Attributes:
        found: all of it as data, without the trials' runs.
        model: the final model: `predict`, and for classes `predict_proba`, over a frame with the columns that were given.
        home: the home that the search was kept in.
        recording: of the runs, which may still be written; `wait` waits for them.
        interrupted: whether Ctrl-C ended it early.
    """

    found: Search
    model: Any = field(repr=False)
    home: Path
    recording: Recording = field(repr=False)
    interrupted: bool = False

    @property
    def model_uri(self) -> str:
        """Where MLflow has the model: `mlflow.sklearn.load_model(model_uri)`.

        Raises:
            MillraceError: the runs could not be written.
        """
        return self.recording.wait().model_uri

    @property
    def search(self) -> Search:
        """All of it as data. Raises as `model_uri`."""
        recorded = self.recording.wait()
        trials = [_named(trial, recorded.trials.get(trial.number)) for trial in self.found.trials]
        return replace(self.found, trials=tuple(trials), run_id=recorded.run_id)

    @property
    def best_trial(self) -> Trial:
        """The trial that weighs most in the final model."""
        return self.search.trial(self.final.members[0].trial)

    @property
    def final(self) -> Final:
        """What the final model is made of."""
        assert self.found.final is not None  # noqa: S101 - the search is finished
        return self.found.final

    @property
    def experiment(self) -> str:
        """The MLflow experiment."""
        return str(self.found.experiment)

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials, in the order in which they were begun."""
        return self.search.trials

    @property
    def notebooks(self) -> dict[str, str]:
        """Trial's name to where its notebook is kept."""
        return {trial.name: trial.notebook for trial in self.trials if trial.notebook}

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The trials that were judged on all folds, the best first."""
        import pandas as pd

        metric = self.found.problem.metric
        lines = [
            {"trial": trial.name, metric: trial.score, "seconds": trial.seconds, "default": trial.default}
            for trial in self.found.leaderboard
        ]
        return pd.DataFrame(lines, columns=["trial", metric, "seconds", "default"])

    def register(self, name: str) -> str:
        """Make the final model a version of a registered model; the version's number.

        Args:
            name: `catalog.schema.model`.
        """
        from contextlib import closing

        from millrace.registry.types import ModelName
        from millrace.workspace import require_home

        recorded, search_id = self.recording.wait(), self.found.id
        with closing(require_home(self.home)) as workspace:
            tags = {SEARCH: search_id}
            version = workspace.registry.register(ModelName(name), recorded.model_uri, recorded.run_id, tags, search_id)
            return str(version.version)

    def notebook(self, trial: Trial | None = None, *, source: bool = False) -> str:
        """A trial's notebook as text: the .ipynb that is kept with its run, or the same cells in source format, a Python file.

        Args:
            trial: whose; the best one by default.
            source: whether it is wanted in source format.

        Raises:
            NotFound: it has none: another engine's trials don't.
        """
        from millrace.automl.notebooks import trial_notebook
        from millrace.automl.record.writer import NOTEBOOK

        trial = trial or self.best_trial
        kept = self._kept(trial.run_id, NOTEBOOK)
        return trial_notebook(self.search, trial).source() if source else kept

    def exploration(self) -> str:
        """The notebook about the data, an .ipynb as text."""
        from millrace.automl.record.writer import EXPLORATION

        return self._kept(self.search.run_id, EXPLORATION)

    def _kept(self, run: str | None, path: str) -> str:
        from contextlib import closing

        from millrace.tracking.types import RunId
        from millrace.workspace import require_home

        with closing(require_home(self.home)) as workspace:
            return workspace.tracking.read_text(RunId(str(run)), path)

    def __str__(self) -> str:
        """The leaderboard, what came out, and what was odd."""
        return "\n".join(lines_of(self, self.model_uri))

    def __repr__(self) -> str:
        """The same; without waiting for the runs."""
        uri = self.model_uri if self.recording.is_there else "its runs are not written yet"
        return "\n".join(lines_of(self, uri))


def _named(trial: Trial, logged: Logged | None) -> Trial:
    """The trial with its run and notebook."""
    return trial if logged is None else replace(trial, run_id=logged.run_id, notebook=logged.notebook)


def lines_of(summary: AutoMLSummary, uri: str) -> list[str]:
    """The summary for people."""
    search, final = summary.found, summary.final
    metric, board = search.problem.metric, search.leaderboard
    pruned = sum(trial.state == "pruned" for trial in search.trials)
    failed = sum(trial.state == "failed" for trial in search.trials)
    head = f"{search.problem.task} of {search.problem.target}: {search.dataset.rows:,} rows, {len(search.dataset.used)} columns"
    counts = f"{len(board)} trials judged on {search.split.total} folds, {pruned} pruned"
    lines = [
        head,
        f"{counts}, {failed} failed, in {search.seconds:.1f} of {search.budget_s:g} s",
        "",
        f"  {'trial':<16} {metric:>10} {'seconds':>8}",
    ]
    members = {member.trial: member.weight for member in final.members}
    shown = board[:_SHOWN] + [trial for trial in board[_SHOWN:] if trial.default or trial.number in members]
    for trial in shown:
        mark = f"  {members[trial.number]:.0%} of the model" if trial.number in members else ""
        mark += "  default" if trial.default else ""
        lines.append(f"  {trial.name:<16} {trial.score:>10.5f} {trial.seconds:>8.2f}{mark}")
    lines += ["", f"final model: {final.kind}, {metric} {final.score:.5f}: {final.why}", f"  {uri}"]
    if search.importance:
        told = ", ".join(f"{each.column} {each.loss:.3g}" for each in search.importance[:5])
        lines.append(f"needs most: {told}")
    return lines + [f"note: {warning}" for warning in search.dataset.warnings]
