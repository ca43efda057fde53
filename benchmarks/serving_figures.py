"""What is made of the measurements of the serving benchmark: medians, and how many times another's ours are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from serving_load import Load, Start

Starts = Mapping[str, Sequence[Start]]
Value = Callable[[Load], float]
Names = Callable[[str], bool]


def ratios(more: Sequence[float], less: Sequence[float]) -> list[float]:
    """Of each round, since from one to the next the machine may be another. A peer's rounds are the first ones."""
    return [one / other for one, other in zip(more, less, strict=False) if one and other]


def ratio(more: Sequence[float], less: Sequence[float]) -> float:
    """The median of `ratios`; not a number where there are none, since a server answered none."""
    found = ratios(more, less)
    return median(found) if found else math.nan


def times(more: Sequence[float], less: Sequence[float]) -> str:
    """The median of `ratios`, the least and the most, as they stand on the page."""
    found = ratios(more, less)
    return f"{median(found):.1f} times ({min(found):.1f} to {max(found):.1f})" if found else "it answered none"


def each_round(
    found: Sequence[Start], names: Names, connections: int, value: Value, best: Callable[..., float]
) -> list[float]:
    """What a server did in each round; where it was asked in several ways, in the best of them."""
    return [
        best(value(load) for (name, number), load in start.loads.items() if number == connections and names(name))
        for start in found
    ]


def knows(found: Sequence[Start], question: str, connections: int) -> bool:
    """Whether a server was ever asked that."""
    return any((question, connections) in start.loads for start in found)


def of(found: Sequence[Start], question: str, connections: int, value: Value) -> float:
    """The median of all rounds in which it was asked."""
    return median(value(start.loads[question, connections]) for start in found if knows([start], question, connections))


def median(values: Iterable[float]) -> float:
    """As it is."""
    return statistics.median(values)


def memory(found: Sequence[Start]) -> float:
    """Of all processes of a server, right after the load."""
    return median(start.memory.pss for start in found)


def cold(found: Sequence[Start]) -> float:
    """Seconds to the first answer."""
    return median(start.cold_s for start in found)


def rps(load: Load) -> float:
    """Requests per second."""
    return load.rps


def p50(load: Load) -> float:
    """In milliseconds."""
    return load.p50_ms


def p99(load: Load) -> float:
    """In milliseconds."""
    return load.p99_ms


def cpu(load: Load) -> float:
    """Milliseconds of all processes for a request."""
    return load.cpu_ms


def answering_cpu(load: Load) -> float:
    """Milliseconds of the answering process for a request."""
    return load.answering_cpu_ms
