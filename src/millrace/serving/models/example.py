"""What a model is asked before anybody else asks it: its own example."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from millrace.core.errors import InvalidInput, MillraceError
from millrace.serving.inputs import Inputs
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.paths.golden import example_inputs
from millrace.serving.models.paths.limits import predicts
from millrace.serving.models.turns import Raised, TooSlow, Unavailable, checked
from millrace.serving.port import Predictor
from millrace.serving.types import LoadPlan

_LOG = logging.getLogger(__name__)
_MOST_ROWS = 16


def check_example(predictor: Predictor, plan: LoadPlan, answer_s: float) -> None:
    """Have a model predict the first rows of its own example, where it has one: a model that never will may load all the same.

    Of several rows it may refuse some: training rows have missing values that the model takes none of.

    Raises:
        InvalidInput: it predicts none of them in `answer_s` seconds, or gives more or fewer labels than there are rows. What
            the model itself said is in the log.
    """
    rows = example_inputs(plan.inputs, read_model_folder(Path(plan.path)).example).slice(0, _MOST_ROWS)
    failure = _failure_in_time(predictor, rows, answer_s) if len(rows) else None
    if failure is None:
        return
    what = f"model '{plan.entity.entity_name}' version {plan.entity.entity_version} can't predict its own example"
    _LOG.error("%s", what, exc_info=failure)
    raise InvalidInput(
        f"{what}: {_told(failure)}", hint="the server's log says where; is something missing in its requirements.txt?"
    ) from failure


def _failure_in_time(predictor: Predictor, rows: Inputs, answer_s: float) -> Exception | None:
    """What is wrong, at the latest when the time is over. The thread is left behind then: nothing ends one."""
    found: list[Exception | None] = []
    thread = threading.Thread(target=lambda: found.append(_failure(predictor, rows)), daemon=True)
    thread.start()
    thread.join(answer_s)
    return found[0] if found else TooSlow()


def _failure(predictor: Predictor, rows: Inputs) -> Exception | None:
    try:
        prediction = predictor.predict(rows)
    except (TooSlow, Unavailable) as error:
        return error
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
        single = (rows.slice(at, at + 1) for at in range(len(rows)))
        return None if any(predicts(predictor.predict, row) for row in single) else error
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
