"""A model behind the fastest path that was proved equal to its own predict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.core.errors import InvalidInput, MillraceError
from millrace.serving.inputs import Inputs
from millrace.serving.mlmodel import ModelFolder, read_model_folder
from millrace.serving.paths.golden import accepted, difference, golden_inputs
from millrace.serving.paths.lightgbm import open_lightgbm
from millrace.serving.paths.path import PredictFunction, PredictPath, Unsuitable
from millrace.serving.paths.pyfunc import open_pyfunc
from millrace.serving.paths.sklearn import open_sklearn
from millrace.serving.paths.xgboost import open_xgboost
from millrace.serving.port import Predictor
from millrace.serving.types import LoadPlan, Prediction

_LOG = logging.getLogger(__name__)
_Opener = Callable[[Path, ModelFolder, Sequence[tuple[str, str]]], PredictPath]
_NATIVE: dict[str, _Opener] = {"xgboost": open_xgboost, "lightgbm": open_lightgbm, "sklearn": open_sklearn}
# Longest for a call on the event loop; what may take longer runs beside it, so that health is still answered.
_QUICK_ROWS = 1000


@dataclass(frozen=True, slots=True)
class _Loaded:
    path: str
    why: str
    function: PredictFunction
    quick_rows: int

    def predict(self, inputs: Inputs) -> Prediction:
        try:
            return self.function(inputs)
        except ValueError as error:
            # So scikit-learn and others refuse inputs: a missing value where they take none, a number too large.
            _LOG.warning("a model refused its inputs", exc_info=True)
            raise InvalidInput("the model can't predict from these values", hint="the server's log says why") from error


def load_predictor(plan: LoadPlan) -> Predictor:
    """Load the model natively and try it on golden rows; where that fails or differs, fall back to MLflow's pyfunc.

    Takes as long as the model's libraries take to import, plus about 0.1 s.

    Raises:
        InvalidInput: the folder holds no model that can be loaded at all.
    """
    folder = Path(plan.path)
    facts = read_model_folder(folder)
    opener = _NATIVE.get(plan.flavor)
    if opener is None:
        return _pyfunc(plan, "the model has no native flavor")
    try:
        path = opener(folder, facts, plan.inputs)
        return _Loaded(plan.flavor, _prove(path, plan, facts), path.fast, _QUICK_ROWS)
    except Unsuitable as reason:
        return _pyfunc(plan, f"{plan.flavor} is ruled out: {reason}")
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
        return _pyfunc(plan, f"{plan.flavor} could not be loaded natively ({type(error).__name__})")


def _prove(path: PredictPath, plan: LoadPlan, facts: ModelFolder) -> str:
    inputs = accepted(golden_inputs(plan.inputs, facts.example), path.own)
    if not inputs:
        raise Unsuitable("there is no row that the model itself can predict")
    try:
        found = difference(path.fast(inputs), path.own(inputs))
    except Exception as error:
        raise Unsuitable(f"it fails where the model's own predict does not ({type(error).__name__})") from error
    if found:
        raise Unsuitable(found)
    return f"equal to the model's own predict on {len(inputs)} rows"


def _pyfunc(plan: LoadPlan, why: str) -> Predictor:
    try:
        return _Loaded("pyfunc", why, open_pyfunc(Path(plan.path), plan.inputs), 0)
    except MillraceError:
        raise
    except Exception as error:
        raise InvalidInput(
            f"model '{plan.entity.entity_name}' version {plan.entity.entity_version} can't be loaded: {error}",
            hint="its packages must be installed here in the versions of its requirements.txt",
        ) from error
