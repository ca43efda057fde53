"""Gates on the model as it is served: asked over HTTP on the staging endpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import quantiles

from millrace.core.errors import InvalidInput
from millrace.statistics.intervals import proportion
from millrace.validation.types import GateResult, Served

FAST_ENOUGH = "fast_enough"
_SLOWEST = 0.01  # p99: one request in a hundred may be slower
_MB = 1_000_000


@dataclass(frozen=True)
class FastEnough:
    """99 of 100 requests must be answered in time, and the model's files must not be too big.

    Measured at the staging endpoint by requests of one row, one after the other, over HTTP, after others have warmed the model. One slow
    answer of a hundred proves nothing: the model is refused where more than 1 % of the requests are surely over the limit (95 %, Wilson).
    Where they are they are timed once more, and the second time counts: the machine may have been busy with something else.

    Args:
        p99_ms: the limit in milliseconds; None: any.
        size_mb: the limit of the files in millions of bytes; None: any.
        requests: how many are asked; fewer where they take more than 5 seconds together.

    Raises:
        InvalidInput: a limit that is not positive, or fewer than 20 requests.
    """

    p99_ms: float | None = 500.0
    size_mb: float | None = 500.0
    requests: int = 100

    def __post_init__(self) -> None:
        for name, limit in (("p99_ms", self.p99_ms), ("size_mb", self.size_mb)):
            if limit is not None and not (math.isfinite(limit) and limit > 0):
                raise InvalidInput(f"{name} can't be {limit}", hint="give a positive number, or None for any")
        if self.requests < 20:  # noqa: PLR2004 - the docstring's
            raise InvalidInput(f"{self.requests} requests say nothing of the slowest", hint="give 20 or more")

    @property
    def name(self) -> str:
        """`fast_enough`."""
        return FAST_ENOUGH

    def check_served(self, served: Served) -> GateResult:
        """Compare."""
        times = served.latencies_ms
        p50, p99 = _percentile(times, 50), _percentile(times, 99)
        slow = 0 if self.p99_ms is None else sum(each > self.p99_ms for each in times)
        size_mb = served.size_bytes / _MB
        too_slow = bool(times) and proportion(slow, len(times)).low > _SLOWEST
        too_big = self.size_mb is not None and size_mb > self.size_mb
        figures = {"p50_ms": p50, "p99_ms": p99, "requests": float(len(times)), "size_mb": size_mb}
        said = [self._speed(times, slow, p50, p99, too_slow=too_slow), self._size(size_mb, too_big=too_big)]
        return GateResult(self.name, not (too_slow or too_big), "; ".join(said), figures)

    def _speed(self, times: tuple[float, ...], slow: int, p50: float, p99: float, *, too_slow: bool) -> str:
        if not times:
            return "no request was timed"
        said = f"p99 {p99:.1f} ms of {len(times)} requests (half within {p50:.1f} ms)"
        if not slow:
            return said
        share = f"{said}, {slow} of them over {self.p99_ms:g} ms"
        return f"{share}: surely more than 1 in 100" if too_slow else share

    def _size(self, size_mb: float, *, too_big: bool) -> str:
        said = f"{size_mb:.1f} MB" if size_mb >= 1 else f"{size_mb * 1000:.0f} kB"
        return f"model files of {said}" + (f", more than {self.size_mb:g} MB" if too_big else "")


@dataclass(frozen=True)
class NoServingSkew:
    """The staging endpoint must answer what lookup and model give offline, for rows of the holdout that it is asked about by key only.

    Answers may differ by 1e-6 of a probability: another library call, with its own rounding.
    """

    @property
    def name(self) -> str:
        """`no_serving_skew`."""
        return "no_serving_skew"

    def check_served(self, served: Served) -> GateResult:
        """Compare."""
        figures = {
            "rows": float(served.rows),
            "differing": float(served.differing),
            "largest_difference": served.largest_difference,
        }
        if served.differing:
            reason = f"{served.differing} of {served.rows} answers differ from offline: {served.example}"
            return GateResult(self.name, False, reason, figures)
        return GateResult(self.name, True, f"{served.rows} answers over HTTP, all equal to offline", figures)


def _percentile(values: tuple[float, ...], percent: int) -> float:
    if len(values) < 2:  # noqa: PLR2004
        return values[0] if values else math.nan
    return quantiles(values, n=100, method="inclusive")[percent - 1]
