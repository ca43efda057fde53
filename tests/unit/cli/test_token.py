from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.core.clock import parse_time
from millrace.workspace import open_workspace
from tests.unit.cli.conftest import Cli


@pytest.fixture(autouse=True)
def made(home: Path) -> None:
    open_workspace(home).close()


def test_a_token_is_made_shown_and_revoked(cli: Cli, home: Path) -> None:
    made = cli("token", "create", "ci", "--query", "churn", "--query", "spend", "--expires", "90d", "--json").json()
    secret = made.pop("token")
    assert secret.startswith("mr_")
    assert (made["query"], made["manage"]) == (["churn", "spend"], [])
    assert parse_time(made["expires_at"]) - parse_time(made["created_at"]) == timedelta(days=90)
    cli("token", "create", "boss", "--all-endpoints", "manage")
    listed = cli("token", "list", "--json").json()["tokens"]
    assert [(token["name"], token["query"], token["manage"]) for token in listed] == [
        ("boss", [], ["*"]),
        ("ci", ["churn", "spend"], []),
    ]
    assert listed[1] == made
    workspace = open_workspace(home)
    kept = {str(token.name): token.digest for token in workspace.tokens.list()}
    workspace.close()
    assert kept["ci"] == hashlib.sha256(secret.encode()).digest()
    # The secret is nowhere in the home.
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]

    assert cli("token", "revoke", "ci").out == "token ci is revoked\n"
    assert [token["name"] for token in cli("token", "list", "--json").json()["tokens"]] == ["boss"]
    ended = cli("token", "list", "--revoked", "--json").json()["tokens"]
    assert [(token["name"], token["revoked_at"] is None) for token in ended] == [("boss", True), ("ci", False)]
    assert cli("token", "create", "ci", "--query", "churn").code == 0


def test_people_are_told_what_a_token_may(cli: Cli) -> None:
    assert "no tokens" in cli("token", "list").out
    said = cli("token", "create", "app", "--query", "churn", "--manage", "churn-staging", "--all-endpoints", "query")
    assert "mr_" in said.out
    assert "can't be shown again" in said.out
    assert "There is no endpoint churn yet" in said.out
    shown = cli("token", "list").out
    assert "mr_" not in shown
    for word in ("app", "in force", "all endpoints", "churn-staging", "never"):
        assert word in shown


def test_mistakes_are_told_with_the_fix(cli: Cli, home: Path) -> None:
    cli("token", "create", "ci", "--query", "churn")
    assert "revoke it first" in cli("token", "create", "ci", "--query", "churn").refused()
    assert "no rights" in cli("token", "create", "other").refused()
    assert "90d" in cli("token", "create", "other", "--query", "churn", "--expires", "soon").refused()
    assert "there is: ci" in cli("token", "revoke", "app").refused()
    cli("token", "create", "other", "--query", "churn", "--all-endpoints", "some").refused(2)
    missing = home.parent / "elsewhere"
    assert "no millrace home" in cli("token", "list", "--home", missing).refused()
    assert not missing.exists()
