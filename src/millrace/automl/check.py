"""What a search is told beside its rows, looked at before it takes any time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import get_args

from millrace.automl.space import spaces
from millrace.automl.types import Latency
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

FRAMEWORKS = frozenset({"sklearn", "lightgbm", "xgboost", "linear", "hist_gb"})


def check_options(minutes: float, latency: str, max_trials: int | None, exclude_frameworks: Sequence[str]) -> None:
    """Raise InvalidInput for what can't be meant."""
    if not minutes > 0:
        raise InvalidInput(f"{minutes} minutes are no time", hint="give a number over 0, as 0.5 for half a minute")
    check_known("latency", latency, get_args(Latency))
    if max_trials is not None and max_trials < 1:
        raise InvalidInput(f"max_trials is {max_trials}", hint="give at least 1, which is a dummy")
    for name in exclude_frameworks:
        check_known("exclude_frameworks", name, FRAMEWORKS)
    if not [space for space in spaces(frozenset(exclude_frameworks)) if space.family != "dummy"]:
        raise InvalidInput("all frameworks are excluded", hint="leave one of them")


def check_known(what: str, name: str, known: Collection[str]) -> None:
    """Raise InvalidInput, with the nearest name, for one that is not known."""
    if name not in known:
        raise InvalidInput(f"{what}: there is no '{name}'", hint=did_you_mean(name, known))
