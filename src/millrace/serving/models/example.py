"""What a model is asked before it takes over from another: its own example."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from millrace.core.errors import InvalidInput, MillraceError
from millrace.serving.inputs import Inputs
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.paths.golden import example_inputs
from millrace.serving.models.paths.limits import predicts
from millrace.serving.models.turns import Raised, TooSlow, Unavailable, checked
from millrace.serving.port import Predictor
from millrace.serving.types import LoadPlan, Prediction

_LOG = logging.getLogger(__name__)
_MOST_ROWS = 16


def check_example(predictor: Predictor, plan: LoadPlan, answer_s: float) -> None:
    """Have a model predict the first rows of its own example, where it has one: a model that never will may load all the same.

    Of several rows it may refuse some: training rows have missing values that the model takes none of. The first is asked
    alone, and more of them where there is time for more.

    Raises:
        InvalidInput: it predicts none of them in `answer_s` seconds, or gives more or fewer labels than there are rows. What
            the model itself said is in the log.
    """
    rows = example_inputs(plan.inputs, read_model_folder(Path(plan.path)).example, _MOST_ROWS)
    failure = _failure_in_time(predictor, rows, answer_s) if len(rows) else None
    if failure is None:
        return
    what = f"model '{plan.entity.entity_name}' version {plan.entity.entity_version} can't predict its own example"
    _LOG.error("%s", what, exc_info=failure)
    raise InvalidInput(
        f"{what}: {_told(failure)}", hint="the server's log says where; is something missing in its requirements.txt?"
    ) from failure


def _failure_in_time(predictor: Predictor, rows: Inputs, answer_s: float) -> Exception | None:
    """What is wrong, at the latest when the time is over.

    The thread is left behind then, and the model in memory with it, until that call returns or the worker ends: nothing ends
    a thread. One for each update that failed so.
    """
    found: list[Exception | None] = []
    thread = threading.Thread(target=lambda: found.append(_failure(predictor, rows, answer_s)), daemon=True)
    thread.start()
    thread.join(answer_s)
    return found[0] if found else TooSlow()


def _failure(predictor: Predictor, rows: Inputs, answer_s: float) -> Exception | None:
    began = time.monotonic()
    first = _given(predictor, rows.slice(0, 1))
    in_time = int(answer_s / 2 / max(time.monotonic() - began, 1e-6))
    asked = rows.slice(0, max(1, min(len(rows), in_time)))
    given = first if len(asked) == 1 or _is_over(first) else _given(predictor, asked)
    if isinstance(given, Prediction):
        return _miscounted(given, asked)
    if _is_over(given) or isinstance(first, Prediction):
        return given if _is_over(given) else None
    others = (rows.slice(at, at + 1) for at in range(1, len(asked)))
    return None if any(predicts(predictor.predict, row) for row in others) else given


def _given(predictor: Predictor, rows: Inputs) -> Prediction | Exception:
    try:
        return predictor.predict(rows)
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
        return error


def _is_over(given: Prediction | Exception) -> bool:
    """Whether it is not to be asked again."""
    return isinstance(given, TooSlow | Unavailable)


def _miscounted(prediction: Prediction, rows: Inputs) -> Exception | None:
    try:
        checked(prediction, [rows])
    except Raised as error:
        return error
    return None


def _told(failure: Exception) -> str:
    """Without the model's own words: they may quote its rows, and who may query reads this."""
    if isinstance(failure, TooSlow):
        return "it does not answer in time"
    if isinstance(failure, MillraceError):
        return failure.message
    return str(failure) if isinstance(failure, Raised | Unavailable) else type(failure).__name__
