from __future__ import annotations

import getpass
from typing import Never

import pytest

from millrace.core.principal import Principal, current_user, system


def test_a_principal_is_written_as_kind_and_name() -> None:
    assert str(system("retrain")) == "system:retrain"
    assert str(Principal("user", "ada")) == "user:ada"


def test_the_person_at_the_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert current_user() == Principal("user", "ada")


@pytest.mark.parametrize(("env", "name"), [("grace", "grace"), (None, "unknown")])
def test_a_machine_that_does_not_know_its_user(monkeypatch: pytest.MonkeyPatch, env: str | None, name: str) -> None:
    def unknown() -> Never:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", unknown)
    if env is None:
        monkeypatch.delenv("USER", raising=False)
    else:
        monkeypatch.setenv("USER", env)
    assert current_user() == Principal("user", name)
