"""Which policy? The cheapest of those that can't be told from the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from millrace.pipeline.backtest.quality import LEAST_BLOCKS
from millrace.statistics.two_way import Mean


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy with what decides about it.

    Attributes:
        loss: mean loss of what it served; NaN where no label is known.
        trainings: how many it asked for beyond the first, refused ones too.
        rows: training rows of these, times candidates: what they cost, whatever machine they run on.
    """

    name: str
    loss: float
    trainings: int
    rows: int


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The policy, a sentence with the figures that decided, and whether the history could tell policies apart."""

    policy: str
    reason: str
    told_apart: bool


def recommend(contenders: Sequence[Contender], differences: Mapping[tuple[str, str], Mean]) -> Recommendation:
    """The cheapest policy whose loss can't be told from the lowest one.

    Two can be told apart where the 95 % interval of their difference excludes zero, over at least six blocks of time: with fewer, all
    blocks may lie on one side by chance.

    Args:
        contenders: at least one, in the order in which they were named.
        differences: of `(one, other)`: how much higher the loss of one was, where they differ.
    """
    measured = [one for one in contenders if not isnan(one.loss)]
    if not measured:
        cheapest = min(contenders, key=_cost)
        return Recommendation(
            cheapest.name, f"no label of the time is known, so nothing speaks for more than {cheapest.name}", False
        )
    best = min(measured, key=lambda one: (one.loss, *_cost(one)))
    alike = [one for one in measured if one is best or not is_worse(differences[one.name, best.name])]
    chosen = min(alike, key=_cost)
    worse = [one for one in measured if one not in alike]
    return Recommendation(chosen.name, _reason(chosen, best, alike, worse, differences), bool(worse))


def is_worse(difference: Mean) -> bool:
    """Whether a loss is higher than another, and that is no chance."""
    return difference.blocks >= LEAST_BLOCKS and difference.interval.low > 0


def _cost(one: Contender) -> tuple[int, int]:
    return (one.rows, one.trainings)


def _reason(
    chosen: Contender,
    best: Contender,
    alike: Sequence[Contender],
    worse: Sequence[Contender],
    differences: Mapping[tuple[str, str], Mean],
) -> str:
    others = [one for one in alike if one is not chosen]
    if not others and not worse:
        return "nothing else was tried"
    if not worse:
        said = [f"this history can't tell the policies apart, and {chosen.name} is the cheapest"]
        said += [f"{one.name} against it: {told(differences[one.name, chosen.name])}" for one in others]
        return "; ".join(said)
    if chosen is best:
        said = [f"{chosen.name} has the lowest loss, {chosen.loss:.4f}"]
    else:
        said = [
            (
                f"{chosen.name} costs less ({_trainings(chosen)}) and can't be told from {best.name} ({_trainings(best)}), which has the "
                f"lowest loss: {told(differences[chosen.name, best.name])}"
            )
        ]
    said += [f"{one.name} can't be told from it either, and costs more" for one in others if one is not best]
    said += [
        f"{words} {'is' if count == 1 else 'are'} worse: {by}"
        for words, count, by in _together(worse, best, differences)
    ]
    return "; ".join(said)


def _together(
    worse: Sequence[Contender], best: Contender, differences: Mapping[tuple[str, str], Mean]
) -> Iterator[tuple[str, int, str]]:
    """Names, how many, and by how much: those that served the same are told at once."""
    groups: dict[str, list[str]] = {}
    for one in worse:
        groups.setdefault(told(differences[one.name, best.name]), []).append(one.name)
    for by, names in groups.items():
        yield " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])), len(names), by


def _trainings(one: Contender) -> str:
    return "1 retraining" if one.trainings == 1 else f"{one.trainings} retrainings"


def told(difference: Mean) -> str:
    """A difference in loss, in words."""
    if not difference.rows:
        return "every answer whose label is known came from the same models"
    if isnan(difference.interval.low):
        return f"{difference.value:+.4f}, over too short a time to tell"
    text = f"{difference.value:+.4f} (95 % interval {difference.interval.low:+.4f} to {difference.interval.high:+.4f}"
    few = f", over {difference.blocks} blocks of time only" if difference.blocks < LEAST_BLOCKS else ""
    return f"{text}{few})"
