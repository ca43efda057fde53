"""Our fires are those of Quartz itself, for random expressions, where clocks do not change.

Where they do, Quartz leaves fires out (docs/adr has the cases), so the zones here have no such days. One thing is left out by
rule: the weekday nearest to a day that one of the schedule's months lacks, as `31W`. Quartz fires in some of these months and
not in others, and for `L-28W` to `L-30W` it does not come back at all. We never fire in them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from millrace.core.errors import InvalidInput
from millrace.jobs.quartz import parse
from millrace.jobs.quartz.fields import MONTH, values
from tests.integration.quartz.expressions import Expressions
from tests.integration.quartz.oracle import Question, ask, missing

_CASES, _FIRES, _SEED = 2_000, 5, 20_260
_ZONES = ("UTC", "Asia/Kolkata", "Asia/Tokyo")
_FIRST, _SPAN_S = datetime(1972, 1, 1, tzinfo=UTC), 3_800_000_000  # to 2092
_BATCH = 10_000

pytestmark = pytest.mark.quartz


def _cases() -> int:
    nightly = settings.get_profile("nightly").max_examples
    return nightly if settings().max_examples == nightly else _CASES


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_fires_are_those_of_quartz(tmp_path: Path) -> None:
    random, expressions = np.random.default_rng(_SEED), Expressions(_SEED)
    for _ in range(0, _cases(), _BATCH):
        questions = [
            Question(
                expressions.next(),
                _ZONES[int(random.integers(len(_ZONES)))],
                _FIRST + timedelta(seconds=int(random.integers(_SPAN_S))),
            )
            for _ in range(min(_cases(), _BATCH))
        ]
        questions = [question for question in questions if not _is_quirk(question.expression)]
        for question, theirs in zip(questions, ask(questions, _FIRES, tmp_path), strict=True):
            assert _ours(question) == _until_2100(theirs), question


def _ours(question: Question) -> list[int]:
    """Our fires. None at all is what Quartz has for an expression that we refuse because it never fires."""
    try:
        cron = parse(question.expression, question.zone)
    except InvalidInput as refused:
        if "never fires" not in refused.message:
            raise
        return []
    fires, at = list[int](), cron.next_after(question.after)
    while at is not None and len(fires) < _FIRES:
        fires.append(int(at.timestamp()))
        at = cron.next_after(at)
    return fires


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_what_we_take_quartz_takes(tmp_path: Path) -> None:
    """Expressions with a letter changed: we may be stricter, but never read what Quartz does not, nor in another way."""
    random, expressions = np.random.default_rng(_SEED + 1), Expressions(_SEED + 1)
    letters = "0123456789*?/,-LW#MONJAN "
    spoiled = list[Question]()
    for _ in range(_cases()):
        text = expressions.next()
        at = int(random.integers(len(text)))
        text = text[:at] + letters[int(random.integers(len(letters)))] + text[at + 1 :]
        spoiled.append(Question(text, "UTC", datetime(2026, 2, 3, tzinfo=UTC)))
    taken = [each for each in spoiled if _is_taken(each.expression) and not _is_quirk(each.expression)]
    assert len(taken) > len(spoiled) // 10
    for question, theirs in zip(taken, ask(taken, _FIRES, tmp_path), strict=True):
        assert _ours(question) == _until_2100(theirs), question


def _until_2100(theirs: list[int] | str) -> list[int] | str:
    """Years are 1970 to 2099 for us, as Quartz's pages have it; its code goes on."""
    return theirs if isinstance(theirs, str) else [fire for fire in theirs if fire < 4_102_444_800]


def _is_quirk(text: str) -> bool:
    """Whether W stands behind a day that a month of the expression lacks."""
    day, month = text.upper().split()[3:5]
    if not day.endswith("W") or day == "LW":
        return False
    if day.startswith("L-"):
        return int(day[2:-1]) > 27
    months = values(MONTH, month)
    lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return any(int(day[:-1]) > lengths[month - 1] for month in months) or (int(day[:-1]) == 29 and 2 in months)


def _is_taken(text: str) -> bool:
    try:
        parse(text)
    except InvalidInput:
        return False
    return True
