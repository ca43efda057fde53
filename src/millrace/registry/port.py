"""What the loop needs from a model registry, and the log of promotions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from millrace.registry.types import ModelName, ModelVersion, Promotion, VersionEntry


class Registry(Protocol):
    """Models and versions; aliases are the truth, stages are mirrored where the store has them. Process-safe.

    Raises (all methods that name a model, version or alias): NotFound with a hint.
    """

    def register(
        self, model: ModelName, source: str, run_id: str | None, tags: Mapping[str, str], key: str | None = None
    ) -> VersionEntry:
        """Make a version of a logged model (the model is made where missing); under a key that was used before, return that version."""
        ...

    def version(self, model: ModelName, version: ModelVersion) -> VersionEntry: ...

    def by_alias(self, model: ModelName, alias: str) -> VersionEntry | None:
        """Where the alias points; None where it is not set or the model does not exist."""
        ...

    def versions(self, model: ModelName) -> Sequence[VersionEntry]:
        """Oldest first; empty for an unknown model."""
        ...

    def models(self) -> Sequence[ModelName]: ...

    def set_alias(self, model: ModelName, alias: str, version: ModelVersion) -> None:
        """Point the alias at the version, tag it, and mirror `staging` and `production` to stages."""
        ...

    def remove_alias(self, model: ModelName, alias: str) -> None: ...

    def tag(self, model: ModelName, version: ModelVersion, tags: Mapping[str, str]) -> None: ...

    def download(self, model: ModelName, version: ModelVersion) -> Path:
        """A local folder with the MLflow model, for reading only. Stable across calls where the store is local.

        Raises:
            PermissionDenied: the version's files are not in the registry's own store, nor where else models may come from.
        """
        ...


class PromotionLog(Protocol):
    """Append-only. Process-safe; an append is durable when it returns."""

    def append(self, promotion: Promotion) -> None: ...

    def read(self, model: ModelName | None = None) -> Sequence[Promotion]:
        """Oldest first."""
        ...
