"""Promotion to a millrace server, over its REST API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from millrace.targets.adapters.connection import Connection

PROMOTIONS = "/api/millrace/promotions"
_TIMEOUT_S = 900.0  # a model is stored, loaded by every worker, and asked


class MillracePromotionTarget:
    """A `PromotionTarget` on a running server. Arguments as `MillraceTarget`'s."""

    def __init__(
        self, url: str, token: str, *, certificate: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._server = Connection(url, token, certificate=certificate, transport=transport)

    def missing(self, document: str) -> Sequence[str]:
        """What the server's home lacks."""
        found: Sequence[str] = self._server.call("POST", f"{PROMOTIONS}/check", json.loads(document))["missing"]
        return found

    def accept(self, archive: Path, terms: Mapping[str, object]) -> Mapping[str, Any]:
        """Send a bundle."""
        return self._server.upload(PROMOTIONS, archive, {"terms": json.dumps(terms)}, timeout_s=_TIMEOUT_S)
