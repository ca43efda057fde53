from __future__ import annotations

from pathlib import Path

import pytest

from millrace.ci.homes import home_of, is_same_home, refuse_shared, with_home
from millrace.ci.project import find_project, read_project
from millrace.core.errors import InvalidState, UsageError

TOML = '[targets.dev]\n[targets.staging]\nhome = "staging"\n[targets.prod]\nserver = "http://127.0.0.1:5010"\n'


def test_a_given_home_is_that_of_targets_that_name_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "usual"))
    (tmp_path / "millrace.toml").write_text(TOML)
    project = read_project(tmp_path / "millrace.toml")
    dev, staging, prod = project.targets
    assert (home_of(dev), home_of(staging)) == (tmp_path / "usual", tmp_path / "staging")
    given = with_home(project, tmp_path / "given").targets
    assert [home_of(target) for target in given[:2]] == [tmp_path / "given", tmp_path / "staging"]
    with pytest.raises(InvalidState, match="is the server at") as refused:
        home_of(prod)
    assert refused.value.hint
    assert with_home(project, None) is project


def test_what_is_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "millrace.toml").write_text(TOML)
    dev, staging, prod = read_project(tmp_path / "millrace.toml").targets
    assert not is_same_home(dev, staging)
    assert not is_same_home(dev, prod)
    assert is_same_home(prod, prod)
    one, other, _ = find_project(tmp_path / "millrace.toml").targets[0], *find_project(Path("/")).targets[1:]
    assert is_same_home(one, other)
    monkeypatch.setenv("MILLRACE_WAREHOUSE", "s3://lake")
    with pytest.raises(UsageError, match="MILLRACE_WAREHOUSE is set"):
        refuse_shared(dev, staging)
    refuse_shared(dev, prod)
