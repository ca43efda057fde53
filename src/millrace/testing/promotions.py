"""What every `PromotionLog` must do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from millrace.registry.port import PromotionLog
from millrace.registry.types import ModelName, ModelVersion, Promotion
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_CHURN, _SPEND = ModelName("ml.models.churn"), ModelName("ml.models.spend")


def promotion(model: ModelName, version: str, replaced: str | None = None, hour: int = 0) -> Promotion:
    """A move of `production` with a verdict."""
    before = None if replaced is None else ModelVersion(replaced)
    verdict = {"passed": True, "gates": [{"name": "accuracy", "value": 0.8125, "reason": "≥ 0.80"}]}
    at = _T + timedelta(hours=hour)
    return Promotion(model, ModelVersion(version), "production", before, at, "user:ada", "better", verdict)


class PromotionLogSuite:
    """Tests of a `PromotionLog`; give the fixture `opened`."""

    def test_promotions_read_back_oldest_first(self, opened: Callable[[], PromotionLog]) -> None:
        # The second was written later though its time is earlier: the log keeps the order of writing.
        written = [promotion(_CHURN, "1", hour=5), promotion(_CHURN, "2", "1", hour=3), promotion(_CHURN, "1", "2")]
        for one in written:
            opened().append(one)
        assert list(opened().read()) == written

    def test_read_can_be_of_one_model(self, opened: Callable[[], PromotionLog]) -> None:
        log = opened()
        log.append(promotion(_CHURN, "1"))
        log.append(promotion(_SPEND, "1"))
        assert [one.model for one in log.read(_SPEND)] == [_SPEND]
        assert list(log.read(ModelName("ml.models.nobody"))) == []

    def test_the_same_promotion_twice_is_two_entries(self, opened: Callable[[], PromotionLog]) -> None:
        log = opened()
        log.append(promotion(_CHURN, "1"))
        log.append(promotion(_CHURN, "1"))
        assert len(log.read()) == 2

    def test_two_appenders_lose_nothing(self, opened: Callable[[], PromotionLog]) -> None:
        opened()

        def append(number: int) -> None:
            log = opened()
            for step in range(10):
                log.append(promotion(_CHURN, f"{number}-{step}"))

        race(3, append)
        versions = [str(one.version) for one in opened().read()]
        assert sorted(versions) == sorted(f"{number}-{step}" for number in range(3) for step in range(10))
        for number in range(3):
            mine = [version for version in versions if version.startswith(f"{number}-")]
            assert mine == [f"{number}-{step}" for step in range(10)]
