"""Comparing what a condition compares. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TypeVar, assert_never

from millrace.jobs.job import ConditionTask

_T = TypeVar("_T", Decimal, str)


def outcome(condition: ConditionTask) -> str:
    """`true` or `false`: as numbers where both sides are numbers, else as texts."""
    left, right = _number(condition.left), _number(condition.right)
    if left is None or right is None:
        return str(_compare(condition, condition.left, condition.right)).lower()
    return str(_compare(condition, left, right)).lower()


def _number(text: str) -> Decimal | None:
    """The number that a text is, exactly; NaN is none."""
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return None if found.is_nan() or "_" in text else found


def _compare(condition: ConditionTask, left: _T, right: _T) -> bool:
    match condition.op:
        case "EQUAL_TO":
            return left == right
        case "NOT_EQUAL":
            return left != right
        case "GREATER_THAN":
            return left > right
        case "GREATER_THAN_OR_EQUAL":
            return left >= right
        case "LESS_THAN":
            return left < right
        case "LESS_THAN_OR_EQUAL":
            return left <= right
        case _:
            assert_never(condition.op)
