"""The gates that every pipeline has, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.validation.calibrated import Calibrated
from millrace.validation.comparisons import BeatsBaselines, BeatsChampion, NoWorseThanChampion
from millrace.validation.no_leakage import NoLeakage
from millrace.validation.served import FastEnough, NoServingSkew
from millrace.validation.thresholds import AtLeast, AtMost
from millrace.validation.types import AnyGate, Gate, ServedGate
from millrace.validation.worst_slice import WorstSlice

DEFAULTS: tuple[AnyGate, ...] = (
    NoLeakage(),
    BeatsBaselines(),
    NoWorseThanChampion(),
    WorstSlice(),
    Calibrated(),
    NoServingSkew(),
    FastEnough(),
)
ALL = "all"
_OF_ITSELF = (AtLeast, AtMost, BeatsBaselines, Calibrated, NoLeakage, WorstSlice)


def check_skipped(skip: Sequence[str]) -> None:
    """Whether these are names of default gates, or `all`.

    Raises:
        InvalidInput: one is not.
    """
    known = [*(gate.name for gate in DEFAULTS), ALL]
    for name in skip:
        if name not in known:
            raise InvalidInput(f"'{name}' is no default gate", hint=did_you_mean(name, known))


def in_force(named: Sequence[AnyGate], skip: Sequence[str] = (), *, unattended: bool = False) -> tuple[AnyGate, ...]:
    """The gates that were named, and each default one of a name that was not and that is not skipped.

    Args:
        named: what the pipeline names.
        skip: names of default gates to leave out; `all` for all.
        unattended: whether nobody looked at why there is a new model: then it must beat the champion, also where no gate says so.
    """
    gates = list(named)
    names = {gate.name for gate in gates}
    if unattended and "beats_champion" not in names:
        gates.append(BeatsChampion())
        names.add("beats_champion")
    if "beats_champion" in names:
        names.add("no_worse_than_champion")  # which asks for less
    left_out = set(skip)
    gates += [gate for gate in DEFAULTS if ALL not in left_out and gate.name not in names | left_out]
    return tuple(gates)


def offline(gates: Sequence[AnyGate]) -> tuple[Gate, ...]:
    """Those that are asked before the model is served."""
    return tuple(gate for gate in gates if not isinstance(gate, ServedGate))


def of_itself(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """Those that certainly look at the model by itself, and never at the champion."""
    return tuple(gate for gate in gates if isinstance(gate, _OF_ITSELF))


def served(gates: Sequence[AnyGate]) -> tuple[ServedGate, ...]:
    """Those that are asked once it is on the staging endpoint."""
    return tuple(gate for gate in gates if isinstance(gate, ServedGate))
