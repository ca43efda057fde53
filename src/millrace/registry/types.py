"""A model version, and a promotion of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NewType

ModelName = NewType("ModelName", str)
ModelVersion = NewType("ModelVersion", str)

Alias = Literal["staging", "production", "previous"]


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A registered version.

    Attributes:
        source: URI of the logged model.
        run_id: the training run; None where it is not known.
        aliases: the aliases that point here.
    """

    model: ModelName
    version: ModelVersion
    source: str
    run_id: str | None
    created_at: datetime
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of an alias: who, when, why, from what verdict. `replaced` is the version that it pointed to before."""

    model: ModelName
    version: ModelVersion
    alias: str
    replaced: ModelVersion | None
    at: datetime
    by: str
    why: str
    verdict: Mapping[str, object] = field(default_factory=dict)
