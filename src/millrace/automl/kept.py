"""A search with all that is kept of it: its folder in the home, and its runs in MLflow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.engines.find import Engine, interpreter
from millrace.automl.engines.run import run_engine
from millrace.automl.folder import SearchFolder, final_to_json, kept_folder, key_of, tidy
from millrace.automl.kept_rows import with_rows_kept
from millrace.automl.lines import lines_where_somebody_looks
from millrace.automl.read import read
from millrace.automl.record.log import RunLog
from millrace.automl.record.messages import Failed, Outcome, Recorded
from millrace.automl.record.model import example_of
from millrace.automl.record.recording import Recording
from millrace.automl.run import Found, Limits, Watch, left_s, run_search
from millrace.automl.space import spaces
from millrace.automl.summary import AutoMLSummary
from millrace.automl.types import Latency, Search, Trial
from millrace.automl.workers.fit import write_whole
from millrace.automl.workers.pool import Pool
from millrace.core.errors import MillraceError
from millrace.workspace import open_workspace

_SHORT_S = 10.0
_LOGGING_SHARE = 0.2  # at most: what takes longer comes behind


@dataclass(frozen=True, slots=True)
class Options:
    """What does not change what is asked, only how it is searched. Each is explained in `classify`."""

    minutes: float
    exclude_frameworks: Sequence[str] = ()
    experiment: str | None = None
    data_dir: str | Path | None = None
    max_trials: int | None = None
    latency: Latency = "normal"
    blend: bool = True
    home: str | Path | None = None
    watch: Watch | None = None
    engine: str = "millrace"


def search_here(dataset: Any, wish: Wish, options: Options) -> AutoMLSummary:
    """By our own engine. A search that was killed goes on."""
    begun = time.monotonic()
    with closing(open_workspace(options.home)) as workspace, ExitStack() as held:
        short = options.minutes * 60 < _SHORT_S
        log = held.enter_context(closing(RunLog(workspace.home, waits=short)))
        # A second process would take longer to begin than it could help.
        pool = held.enter_context(Pool(1 if short else workspace.settings.threads))
        asked = ask(read(dataset, workspace), wish)
        key = key_of(asked.job, asked.preparations, options.exclude_frameworks, options.latency)
        folder = held.enter_context(kept_folder(workspace.home / "automl", key))
        asked = with_rows_kept(asked, _rows_file(folder, options))
        sketch, known = _sketch(asked, folder, options, pool.size), folder.trials(asked.preparations)
        log.begin(_experiment(asked, options), sketch, notebooks=True, known=known)
        used_s = float(folder.state().get("used_s", 0.0))
        limits = _limits(log, begun, options, used_s, wish.seed)
        watch = _Watching(log, lines_where_somebody_looks() if options.watch is None else options.watch)
        families = spaces(frozenset(options.exclude_frameworks))
        found = run_search(asked, folder, families, limits, pool=pool, clock=workspace.clock, watch=watch)
        pool.close()
        outcome = Outcome(found.search, example_of(asked.job.rows.features), folder.path)
        recording = _recording(log, folder, outcome, held.pop_all())
        end = limits.begun + limits.budget_s
        return _summary(found, _experiment(asked, options), recording, workspace.home, begun=begun, end=end)


def search_by_engine(engine: Engine, dataset: Any, wish: Wish, options: Options) -> AutoMLSummary:
    """By an engine that is not ours, which does not go on where it was killed."""
    begun, budget_s = time.monotonic(), options.minutes * 60
    with closing(open_workspace(options.home)) as workspace, ExitStack() as held:
        interpreter(engine, workspace.home)
        log = held.enter_context(closing(RunLog(workspace.home)))
        asked = ask(read(dataset, workspace), wish)
        key = key_of(asked.job, asked.preparations, engine, options.latency)
        folder = held.enter_context(kept_folder(workspace.home / "automl", key))
        folder.begin(asked.job)
        asked = with_rows_kept(asked, _rows_file(folder, options))
        threads = workspace.settings.threads
        sketch = _sketch(asked, folder, options, threads)
        log.begin(_experiment(asked, options), sketch, notebooks=False)
        if options.watch is not None:
            options.watch.begun(sketch)
        with _told_where_it_fails(log):
            found = run_engine(
                engine,
                asked,
                search_id=folder.id,
                home=workspace.home,
                budget_s=budget_s - (time.monotonic() - begun),
                threads=threads,
                seed=wish.seed,
                latency=options.latency,
                clock=workspace.clock,
            )
        write_whole(folder.whole, found.model)
        outcome = Outcome(found.search, example_of(asked.job.rows.features), folder.path, folder.whole)
        recording = _recording(log, folder, outcome, held.pop_all())
        return _summary(
            found, _experiment(asked, options), recording, workspace.home, begun=begun, end=begun + budget_s
        )


@contextmanager
def _told_where_it_fails(log: RunLog) -> Iterator[None]:
    try:
        yield
    except MillraceError:
        with suppress(MillraceError):  # the first is what the user should know
            log.end(Failed())
        raise


@dataclass(slots=True)
class _Watching:
    """Logs each trial, and passes on to who looks on."""

    log: RunLog
    other: Watch | None

    def begun(self, search: Search) -> None:
        if self.other is not None:
            self.other.begun(search)

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        self.log.trial(trial)
        if self.other is not None:
            self.other.ended(trial, best, left_s)


def _experiment(asked: Asked, options: Options) -> str:
    return options.experiment or f"automl {asked.dataset.name}"


def _sketch(asked: Asked, folder: SearchFolder, options: Options, threads: int) -> Search:
    """What is known of a search before it begins."""
    job = asked.job
    return Search(folder.id, job.problem, asked.dataset, job.plan, options.minutes * 60, job.plan.seed, threads)


def _rows_file(folder: SearchFolder, options: Options) -> Path:
    return folder.data if options.data_dir is None else Path(options.data_dir).absolute() / f"{folder.id}.parquet"


def _limits(log: RunLog, begun: float, options: Options, used_s: float, seed: int) -> Limits:
    budget_s = options.minutes * 60
    return Limits(
        begun=begun,
        budget_s=left_s(budget_s, used_s),
        used_s=used_s,
        after_s=lambda: min(log.left_s, _LOGGING_SHARE * budget_s),
        max_trials=options.max_trials,
        latency=options.latency,
        blend=options.blend,
        seed=seed,
    )


def _recording(log: RunLog, folder: SearchFolder, outcome: Outcome, held: ExitStack) -> Recording:
    """Log the outcome, and let go of what is held."""

    def record() -> Recorded:
        with held:
            recorded = log.end(outcome)
            final = None if outcome.search.final is None else final_to_json(outcome.search.final)
            folder.finish(model_uri=recorded.model_uri, final=final)
            folder.whole.unlink(missing_ok=True)
            tidy(folder.path.parent, folder)
            return recorded

    return Recording(record)


def _summary(
    found: Found, experiment: str, recording: Recording, home: Path, *, begun: float, end: float
) -> AutoMLSummary:
    """Waits for the runs until `end`, or Ctrl-C."""
    interrupted = found.interrupted
    try:
        recording.wait_until(end)
    except KeyboardInterrupt:
        interrupted = True
    search = replace(found.search, experiment=experiment, seconds=time.monotonic() - begun)
    return AutoMLSummary(search, found.model, home, recording, interrupted)
