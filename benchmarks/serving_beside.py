"""How many times better than each peer we are at each thing that the design names, and how many times it wants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import serving_figures as figures
from serving_figures import Starts
from serving_load import CONNECTIONS, Start

_ONE_CONNECTION, _SOME, _MOST = CONNECTIONS
_HEAD = [
    f"| beside (wanted) | requests/s, c={_MOST} | p99, c={_SOME} | p50, c=1 | a hundred, requests/s, c={_MOST} | start | memory of the worker |",
    "|-|-|-|-|-|-|-|",
]


@dataclass(frozen=True)
class Wanted:
    """How many times better than a peer; None where the design names nothing.

    Attributes:
        peer: as it is called on the page.
        one: what both are asked for one row or key, and `hundred` for a hundred of them.
    """

    peer: str
    one: str
    hundred: str
    rps: float
    p99: float
    p50: float
    hundred_rps: float
    start: float
    memory: float


_ROW, _ROWS, _KEY, _KEYS = "1 row", "100 rows", "features of 1 key", "features of 100 keys"
_WANTED = (
    Wanted("MLflow", _ROW, _ROWS, 100, 80, 40, 25, 15, 5),
    Wanted("Ray Serve", _ROW, _ROWS, 100, 60, 40, 25, 30, 15),
    Wanted("BentoML", _ROW, _ROWS, 30, 50, 6, 8, 10, 4),
    Wanted("MLServer", _ROW, _ROWS, 12, 8, 3, 4, 6, 2.5),
    Wanted("Feast", _KEY, _KEYS, 100, 500, 6, 150, 10, 4),
)


def table(starts: Starts) -> list[str]:
    """As Markdown: a line for each peer that was measured."""
    return [*_HEAD, *(_line(wanted, starts) for wanted in _WANTED if wanted.peer in starts)]


def _line(wanted: Wanted, starts: Starts) -> str:
    ours, theirs = starts["millrace"], starts[wanted.peer]
    measured = [
        (_quicker(ours, theirs, wanted.one), wanted.rps),
        (_sooner(ours, theirs, wanted.one, _SOME, figures.p99), wanted.p99),
        (_sooner(ours, theirs, wanted.one, _ONE_CONNECTION, figures.p50), wanted.p50),
        (_quicker(ours, theirs, wanted.hundred), wanted.hundred_rps),
        (figures.ratio([each.cold_s for each in theirs], [each.cold_s for each in ours]), wanted.start),
        (figures.memory(theirs) / figures.median(each.answering.pss for each in ours), wanted.memory),
    ]
    return f"| {wanted.peer} | {' | '.join(f'{_shown(value)} ({limit:g})' for value, limit in measured)} |"


def _shown(value: float) -> str:
    return "none answered" if math.isnan(value) else f"{value:.1f}"


def _quicker(ours: Sequence[Start], theirs: Sequence[Start], what: str) -> float:
    of = [figures.each_round(found, _forms(what), _MOST, figures.rps, max) for found in (ours, theirs)]
    return figures.ratio(*of)


def _sooner(ours: Sequence[Start], theirs: Sequence[Start], what: str, connections: int, value: figures.Value) -> float:
    of = [figures.each_round(found, _forms(what), connections, value, min) for found in (theirs, ours)]
    return figures.ratio(*of)


def _forms(what: str) -> figures.Names:
    """All ways in which that is asked: as JSON, as Arrow."""
    return lambda name: name.split(",")[0] == what
