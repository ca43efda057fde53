"""Stores that do not need the workspace database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.core.settings import Settings

if TYPE_CHECKING:
    from millrace.features.port import OnlineStore


def online_store(settings: Settings) -> OnlineStore:
    """Features for lookups inside a request: in the home, or on the server that the settings name."""
    if settings.online_url:
        from millrace.features.adapters.redis_online import RedisOnlineStore

        return RedisOnlineStore(settings.online_url)
    from millrace.features.adapters.lmdb_online import LmdbOnlineStore

    return LmdbOnlineStore(settings.home / "online")
