"""What is answered without a token is answered by a worker alone."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from millrace.api.guard import OPEN
from tests.integration.chaos_server import home_with, serving

CONFIG = "/.well-known/databricks-config"


@pytest.mark.slow
def test_nobody_without_a_token_starts_control(tmp_path: Path) -> None:
    with serving(home_with(0, tmp_path / "home")) as server:
        assert server.pids("control") == []
        with httpx.Client(base_url=server.url, timeout=60) as anybody:
            for path in sorted(OPEN | {"/login", "/", "/api/millrace/status", "/mlflow/", "/nowhere"}):
                for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE"):
                    assert anybody.request(method, path).status_code in {200, 303, 401, 403, 404, 405}, (method, path)
            told = anybody.get(CONFIG)
            assert told.json() == {"workspace_id": "1", "cloud": "AWS", "oidc_endpoint": f"{server.url}/oidc"}
            assert anybody.post(CONFIG).status_code == 405
        assert server.pids("control") == []
