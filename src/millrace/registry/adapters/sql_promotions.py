"""The log of promotions in the workspace database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Row, insert, select

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.database.schema import promotions
from millrace.registry.types import ModelName, ModelVersion, Promotion


class SqlPromotionLog:
    """A `PromotionLog` in the `promotions` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, promotion: Promotion) -> None:
        """Write one move of an alias at the end."""
        row = {
            "model": promotion.model,
            "version": promotion.version,
            "alias": promotion.alias,
            "replaced": promotion.replaced,
            "at_us": epoch_us(promotion.at),
            "by": promotion.by,
            "why": promotion.why,
            "verdict": dict(promotion.verdict),
        }
        with self._engine.begin() as connection:
            connection.execute(insert(promotions).values(row))

    def read(self, model: ModelName | None = None) -> Sequence[Promotion]:
        """Oldest first."""
        query = select(promotions).order_by(promotions.c.id)
        if model is not None:
            query = query.where(promotions.c.model == model)
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [_promotion(row) for row in connection.execute(query)]


def _promotion(row: Row[Any]) -> Promotion:
    return Promotion(
        model=ModelName(row.model),
        version=ModelVersion(row.version),
        alias=row.alias,
        replaced=None if row.replaced is None else ModelVersion(row.replaced),
        at=from_epoch_us(row.at_us),
        by=row.by,
        why=row.why,
        verdict=row.verdict,
    )
