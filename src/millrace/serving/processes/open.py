"""Where a model runs: in the worker, or in a process of its own because its packages differ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from millrace.core.errors import InvalidInput
from millrace.serving.mlmodel import read_model_folder
from millrace.serving.port import Predictor
from millrace.serving.predictor import load_predictor
from millrace.serving.processes.environments import Environments
from millrace.serving.processes.needs import Needs, is_data, needs_of
from millrace.serving.processes.predictor import ProcessPredictor, Program
from millrace.serving.types import FEATURE_SPEC, LoadPlan


def open_predictor(plan: LoadPlan, environments: Environments, answer_s: float) -> Predictor:
    """Load a model: here where what it needs is installed here, else in a process with an environment of its own.

    A model that is a file of data (XGBoost's) runs here whatever its packages, where a native path was proved equal to
    its own predict. The setting `own_packages: false` of an entity has it run here in any case.

    Raises:
        InvalidInput: the model can't be loaded.
        InvalidState: its packages can't be had.
    """
    needs = _needs(plan)
    if needs is None:
        return load_predictor(plan)
    return (_native(plan) if _is_data(plan) else None) or _in_process(plan, needs, environments, answer_s)


def make_environments(plans: Iterable[LoadPlan], environments: Environments) -> None:
    """Make what `open_predictor` will ask for: workers should not wait for packages to arrive.

    Raises:
        InvalidState: packages can't be had.
    """
    for plan in plans:
        needs = None if plan.flavor == FEATURE_SPEC or _is_data(plan) else _needs(plan)
        if needs is not None:
            environments.python(needs)


def _needs(plan: LoadPlan) -> Needs | None:
    return None if plan.entity.settings.get("own_packages") is False else needs_of(Path(plan.path))


def _is_data(plan: LoadPlan) -> bool:
    return is_data(read_model_folder(Path(plan.path)))


def _native(plan: LoadPlan) -> Predictor | None:
    try:
        found = load_predictor(plan)
    except InvalidInput:
        return None
    return None if found.path == "pyfunc" else found


def _in_process(plan: LoadPlan, needs: Needs, environments: Environments, answer_s: float) -> Predictor:
    python = environments.python(needs)
    start = Program(python, Path(plan.path), plan.inputs, environments.log(f"model-{python.parents[1].name}"))
    return ProcessPredictor(start, f"it needs {', '.join(needs.reasons)}", answer_s)
