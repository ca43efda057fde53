"""Where a model runs: in the worker, or in a process of its own because its packages differ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from millrace.core.errors import InvalidState, MillraceError
from millrace.serving.models.predictor import load_predictor
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.processes.needs import Needs, needs_of
from millrace.serving.port import Predictor
from millrace.serving.types import FEATURE_SPEC, LoadPlan

# Flavors that are files of data, which every later version of the library reads, and no pickled objects.
_DATA = {"xgboost"}


def open_predictor(
    plan: LoadPlan, environments: Environments, answer_s: float, proofs: Path | None = None
) -> Predictor:
    """Load a model: here where what it needs is installed here, else in a process with an environment of its own.

    A model that is a file of data (XGBoost's) runs here whatever its packages. The setting `own_packages: false` of an
    entity has any model run here.

    Raises:
        InvalidInput: the model can't be loaded.
        InvalidState: its environment has not been made, or the system starts no process.
    """
    needs = _needs(plan)
    return load_predictor(plan, proofs) if needs is None else _in_process(plan, needs, environments, answer_s)


def make_environments(plans: Iterable[LoadPlan], environments: Environments) -> None:
    """Make what `open_predictor` will ask for: no worker waits for packages to arrive.

    Raises:
        InvalidState: packages can't be had.
    """
    for plan in plans:
        needs = _needs(plan)
        if needs is not None:
            environments.make(needs)


def runs_here(plan: LoadPlan) -> bool:
    """Whether a model needs no process of its own; also true where that can't be told, as loading it will say."""
    try:
        return _needs(plan) is None
    except MillraceError:
        return True


def _needs(plan: LoadPlan) -> Needs | None:
    needs_nothing = plan.flavor in {FEATURE_SPEC, *_DATA} or plan.entity.settings.get("own_packages") is False
    return None if needs_nothing else needs_of(Path(plan.path))


def _in_process(plan: LoadPlan, needs: Needs, environments: Environments, answer_s: float) -> Predictor:
    # Not imported by a worker that has no such model.
    from millrace.serving.models.processes.predictor import ProcessPredictor, Program

    python = environments.python(needs)
    try:
        start = Program(python, Path(plan.path), plan.inputs, environments.log(f"model-{python.parents[1].name}"))
        return ProcessPredictor(start, f"it needs {', '.join(needs.reasons)}", answer_s)
    except OSError as error:
        raise InvalidState(
            f"the model's own process can't be started: {error.strerror or type(error).__name__}",
            hint=f"is the disk full, or envs/{python.parents[1].name} in the home damaged? deleted, it is made anew at the next start",
        ) from error
