"""A model behind the fastest path that was proved equal to its own predict."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.core.errors import InvalidInput, MillraceError, first_line
from millrace.serving.inputs import Inputs, is_text
from millrace.serving.models.mlmodel import ModelFolder, read_model_folder
from millrace.serving.models.paths.kept import KeptProofs
from millrace.serving.models.paths.outcome import Outcome
from millrace.serving.models.paths.path import PredictFunction, by_rows
from millrace.serving.port import Predictor
from millrace.serving.types import LoadPlan, Prediction

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    path: str
    why: str
    quick_rows: int
    function: PredictFunction
    check: Callable[[np.ndarray], None] | None

    def predict(self, inputs: Inputs) -> Prediction:
        if self.check is not None:
            self.check(inputs.numbers)
        try:
            return self.function(inputs)
        except ValueError as error:
            # So libraries refuse inputs for reasons of their own; numbers that they refuse are told by column above.
            _LOG.warning("a model refused its inputs", exc_info=True)
            raise InvalidInput("the model can't predict from these values", hint="the server's log says why") from error


def load_predictor(plan: LoadPlan, proofs: Path | None = None) -> Predictor:
    """Load a model on the path that was proved equal to its own predict; MLflow's pyfunc where none was.

    Args:
        plan: the model.
        proofs: the folder where outcomes of proofs are kept. A model that is not in it is proved first, in a process of its
            own: some seconds. None proves in this process and keeps nothing.

    Raises:
        InvalidInput: the folder holds no model that can be loaded at all.
        PermissionDenied: a file of the model lies outside of the folder.
    """
    folder = Path(plan.path)
    facts = read_model_folder(folder)
    if proofs is not None:
        return _load(plan, facts, *KeptProofs(proofs).outcome(folder))
    from millrace.serving.models.paths.proof import prove

    return _load(plan, facts, *prove(folder))


def is_proved(plan: LoadPlan, proofs: Path) -> bool:
    """Whether a model loads in a blink; also true where its files can't be read, as loading it will say."""
    try:
        return KeptProofs(proofs).knows(Path(plan.path))
    except OSError:
        return True


def _load(plan: LoadPlan, facts: ModelFolder, outcome: Outcome, graph: bytes | Path | None) -> Predictor:
    try:
        function = _open(Path(plan.path), facts, outcome, graph)
    except MillraceError:
        raise
    except Exception as error:
        what = f"model '{plan.entity.entity_name}' version {plan.entity.entity_version} can't be loaded"
        # Its own words may have paths, and who may only query reads what is raised.
        _LOG.error("%s: %s", what, first_line(error), exc_info=True)
        hint = "the server's log says why; its packages must be installed here in the versions of its requirements.txt"
        raise InvalidInput(f"{what}: {type(error).__name__}", hint=hint) from error
    names = [name for name, kind in plan.inputs if not is_text(kind)]
    return _Loaded(outcome.path, outcome.why, outcome.quick_rows, function, outcome.limits.check(names))


def _open(folder: Path, facts: ModelFolder, outcome: Outcome, graph: bytes | Path | None) -> PredictFunction:
    if outcome.path == "onnx+xgboost":
        many_rows = outcome.many_rows or 0
        return by_rows(_onnx(outcome, graph), _xgboost(folder, facts, outcome), many_rows)
    if outcome.path == "onnx":
        return _onnx(outcome, graph)
    if outcome.path == "xgboost":
        return _xgboost(folder, facts, outcome)
    return _slower(folder, facts, outcome)


def _onnx(outcome: Outcome, graph: bytes | Path | None) -> PredictFunction:
    from millrace.serving.models.paths.onnx import open_onnx

    assert graph is not None  # noqa: S101 - the path has one
    return open_onnx(graph, outcome.kind, outcome.classes, outcome.vocabularies)


def _xgboost(folder: Path, facts: ModelFolder, outcome: Outcome) -> PredictFunction:
    from millrace.serving.models.paths.xgboost import open_xgboost

    return open_xgboost(folder, facts, outcome.kind, outcome.classes)


def _slower(folder: Path, facts: ModelFolder, outcome: Outcome) -> PredictFunction:
    """The paths that import the model's libraries, on one thread: workers share the cores."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    if outcome.path == "pyfunc":
        from millrace.serving.models.paths.pyfunc import open_pyfunc

        function = open_pyfunc(folder, facts.inputs)
    elif outcome.path == "lightgbm":
        from millrace.serving.models.paths.lightgbm import fast_lightgbm, own_lightgbm

        function = fast_lightgbm(own_lightgbm(folder, facts))
    else:
        from millrace.serving.models.paths.sklearn import fast_sklearn, own_sklearn

        function = fast_sklearn(own_sklearn(folder, facts), facts)
    threadpool_limits(limits=1)
    return function
