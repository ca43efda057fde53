"""What the server says when it can't start."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.core.errors import NotFound
from millrace.testing.spark_server import find_java, find_spark, temporary_spark


def java(folder: Path, says: str) -> Path:
    """A Java home whose Java only says its version, on stderr as Java does."""
    binary = folder / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    binary.chmod(0o700)
    return folder


def test_an_environment_without_spark(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no Spark in [^\n]*\n .*spark_venv\.sh") as caught:
        find_spark(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_spark_is_found_in_its_environment(tmp_path: Path) -> None:
    home = tmp_path / "lib" / "python3.11" / "site-packages" / "pyspark"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "spark-submit").touch()
    assert find_spark(tmp_path) == home


def test_no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="no Java is installed") as caught:
        find_java()
    assert "openjdk-17-jre-headless" in caught.value.hint


@pytest.mark.parametrize("says", ['openjdk version "11.0.2" 2019-01-15', 'java version "1.8.0_402"', "no version"])
def test_a_java_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path, says)))
    with pytest.raises(NotFound, match="needs Java 17 or later"):
        find_java()


@pytest.mark.parametrize("says", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "25" 2025-09-16'])
def test_a_java_that_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path, says)))
    assert find_java() == tmp_path


def test_nothing_is_left_behind_where_spark_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(NotFound), temporary_spark(tmp_path / "none"):
        pytest.fail("it started")
    assert list(tmp_path.iterdir()) == []
