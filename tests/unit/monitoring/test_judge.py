"""All judges together."""

from __future__ import annotations

import pytest

from millrace.monitoring.judge import judge
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import WindowVerdict
from millrace.monitoring.windows import Granularity
from tests.unit.monitoring.verdicts.answer_streams import SAME, SPEC, World, reference, stream

DAYS = 40
PROFILE = ReferenceProfile(columns=(), answers=reference())


def _number(verdict: WindowVerdict) -> int:
    return Granularity.parse(SPEC.granularity).number(verdict.start)


@pytest.mark.parametrize("first", [0, 1, 33, DAYS - 1, DAYS])
def test_windows_before_the_first_one_are_the_past_and_nothing_is_said_of_them(first: int) -> None:
    assert PROFILE.answers is not None
    world = [SAME if day < 31 else World(truth=0.2) for day in range(DAYS)]
    windows = stream(PROFILE.answers, seed=5, a_day=200, days=world)
    every = judge(SPEC, "1", PROFILE, windows)
    assert {verdict.status for verdict in every if verdict.kind == "performance"} >= {"ok", "degraded"}
    assert list(judge(SPEC, "1", PROFILE, windows, first=first)) == [one for one in every if _number(one) >= first]
