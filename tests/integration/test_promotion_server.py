"""A version sent to a running server: received, served and named there, by the token of its home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace.ci.approval import Consent
from millrace.ci.project import find_project
from millrace.ci.promotion.destinations import open_destination
from millrace.ci.promotion.pack import origin_of
from millrace.ci.promotion.promote import find_version, promote_version
from millrace.ci.types import StageResult
from millrace.core.errors import InvalidState, PermissionDenied, UsageError
from millrace.targets.local_server import home_token
from millrace.targets.running_server import running_server
from tests.integration.promoted_homes import MODEL, Homes, make_homes

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def test_a_server_receives_serves_and_names_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = make_homes(tmp_path)
    with running_server(tmp_path / "prod") as server:
        toml = f'[targets.dev]\nhome = "dev"\n[targets.prod]\nserver = "{server.url}"\ntoken_env = "PROD_TOKEN"\n'
        (tmp_path / "millrace.toml").write_text(toml)
        monkeypatch.delenv("PROD_TOKEN", raising=False)
        with pytest.raises(UsageError, match="PROD_TOKEN is not set"):
            _promote(homes)
        monkeypatch.setenv("PROD_TOKEN", "mr-wrong")
        with pytest.raises(PermissionDenied):
            _promote(homes)
        monkeypatch.setenv("PROD_TOKEN", home_token(tmp_path / "prod"))
        for _ in range(2):
            done = _promote(homes)
            assert (done.status, done.facts["version_there"], done.facts["to_home"]) == ("passed", "1", server.url)
            said = {check.name: check.detail for check in done.checks}
            assert said["answers"] == "20 answers over HTTP, all equal to offline"
    prod = homes.open("prod")
    (entry,) = prod.registry.versions(MODEL)
    assert (entry.aliases, origin_of(entry)[0].place) == (("production",), "dev")
    (move,) = prod.promotions.read()
    assert move.why == "promoted from dev"
    kept = json.loads(prod.tracking.read_text(move.verdict["run_id"], "training_record.json"))  # type: ignore[arg-type]
    assert kept == {"rows": 30}
    prod.close()
    with pytest.raises(InvalidState, match="does not answer"):
        _promote(homes)


def _promote(homes: Homes) -> StageResult:
    place, to = find_project(homes.folder).targets
    dev = homes.open("dev")
    try:
        entry = find_version(dev, MODEL)
        with open_destination(place, to, dev, entry) as destination:
            return promote_version(dev, entry, place, to, destination, consent=Consent())
    finally:
        dev.close()
