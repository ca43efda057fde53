from __future__ import annotations

import os
from pathlib import Path

import pytest

from millrace.core.errors import UsageError
from millrace.core.settings import Settings, cache_folder


def test_everything_lives_in_the_home_by_default(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path / "home", env={})
    home = tmp_path / "home"
    assert settings == Settings(
        home=home,
        database_url=f"sqlite:///{home}/millrace.db",
        mlflow_url=f"sqlite:///{home}/mlflow.db",
        warehouse=f"{home}/warehouse",
        spark_remote=None,
        join_engine="arrow",
        threads=min(os.cpu_count() or 1, 4),
    )
    assert not home.exists()


@pytest.mark.parametrize(("text", "on"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_the_access_log_is_a_switch(text: str | None, *, on: bool) -> None:
    env = {} if text is None else {"MILLRACE_ACCESS_LOG": text}
    assert Settings.load("/home", env).access_log is on
    with pytest.raises(UsageError, match="MILLRACE_ACCESS_LOG is 'yes'"):
        Settings.load("/home", {"MILLRACE_ACCESS_LOG": "yes"})


def test_an_argument_wins_over_the_environment_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"MILLRACE_HOME": "relative"}
    assert Settings.load("/given", env).home == Path("/given")
    assert Settings.load(None, env).home == tmp_path / "relative"
    assert Settings.load(None, {"MILLRACE_HOME": ""}).home == tmp_path / ".millrace"
    assert Settings.load("~/there", {}).home == Path("~/there").expanduser()


def test_the_environment_is_read_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    assert Settings.load().home == tmp_path


def test_each_store_can_be_elsewhere() -> None:
    env = {
        "MILLRACE_DATABASE_URL": "postgresql://ada@db/millrace",
        "MILLRACE_MLFLOW_URL": "postgresql://ada@db/mlflow",
        "MILLRACE_WAREHOUSE": "s3://lake/warehouse/",
        "MILLRACE_SPARK_REMOTE": "sc://spark:15002",
        "MILLRACE_THREADS": "7",
        "MILLRACE_MODEL_SOURCES": "/mnt/models, s3://bucket/models,",
    }
    settings = Settings.load("/home", env)
    assert settings.model_sources == ("/mnt/models", "s3://bucket/models")
    assert settings.database_url == "postgresql://ada@db/millrace"
    assert settings.mlflow_url == "postgresql://ada@db/mlflow"
    assert settings.warehouse == "s3://lake/warehouse"
    assert settings.spark_remote == "sc://spark:15002"
    assert settings.threads == 7


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder({}) == tmp_path / ".cache" / "millrace"
    assert cache_folder({"XDG_CACHE_HOME": "/var/cache"}) == Path("/var/cache/millrace")
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache" / "millrace"
    assert cache_folder({"XDG_CACHE_HOME": "/var/cache", "MILLRACE_CACHE": "~/own"}) == tmp_path / "own"
    assert cache_folder({"MILLRACE_CACHE": "~nobody of that name/own"}) is None


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_thread_count_must_be_a_whole_number_from_one(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.load("/home", {"MILLRACE_THREADS": text})
    assert caught.value.exit_code == 2


def test_joins_run_where_spark_is_unless_told_otherwise() -> None:
    remote = {"MILLRACE_SPARK_REMOTE": "sc://spark:15002"}
    assert Settings.load(env={}).join_engine == "arrow"
    assert Settings.load(env=remote).join_engine == "spark"
    assert Settings.load(env={"MILLRACE_JOIN_ENGINE": "spark"}).join_engine == "spark"
    assert Settings.load(env=remote | {"MILLRACE_JOIN_ENGINE": "duckdb"}).join_engine == "duckdb"
    with pytest.raises(UsageError, match="MILLRACE_JOIN_ENGINE is 'ibis'"):
        Settings.load(env={"MILLRACE_JOIN_ENGINE": "ibis"})


def test_capture_is_bounded_and_survives_its_process_unless_told_otherwise() -> None:
    settings = Settings.load("/home", {})
    assert (settings.capture_durability, settings.capture_quota_bytes) == ("process", 2 << 30)
    given = {"MILLRACE_CAPTURE_DURABILITY": "durable", "MILLRACE_CAPTURE_QUOTA_BYTES": "1000"}
    settings = Settings.load("/home", given)
    assert (settings.capture_durability, settings.capture_quota_bytes) == ("durable", 1000)


@pytest.mark.parametrize(
    ("name", "text"), [("MILLRACE_CAPTURE_DURABILITY", "paper"), ("MILLRACE_CAPTURE_QUOTA_BYTES", "2 GB")]
)
def test_a_capture_setting_that_means_nothing_is_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is '{text}'"):
        Settings.load("/home", {name: text})


def test_a_thousand_runs_of_a_job_are_kept_unless_told_otherwise() -> None:
    assert Settings.load("/home", {}).kept_runs == 1_000
    assert Settings.load("/home", {"MILLRACE_KEPT_RUNS": "20"}).kept_runs == 20
    with pytest.raises(UsageError, match="MILLRACE_KEPT_RUNS is '0'"):
        Settings.load("/home", {"MILLRACE_KEPT_RUNS": "0"})
