from __future__ import annotations

from pathlib import Path

import pytest

from millrace.core.errors import PermissionDenied
from millrace.registry.trusted import is_trusted_url, require_closed, trusted_folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name in ("store/model", "elsewhere/model", "store-2/model"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "store"


def test_a_folder_of_the_store_is_given_by_its_real_path(store: Path) -> None:
    (store / "link").symlink_to(store / "model")
    for path in (store / "model", store / "link", store / "model" / ".." / "model", store / "none"):
        found = trusted_folder(path, [str(store)], "churn version 1")
        assert found == (store / "none" if path.name == "none" else store / "model")


def test_what_lies_elsewhere_is_refused_however_it_is_written(store: Path) -> None:
    (store / "link").symlink_to(store.parent / "elsewhere")
    for path in (
        store.parent / "elsewhere" / "model",
        store / ".." / "elsewhere" / "model",
        store / "link" / "model",
        store.parent / "store-2" / "model",
        store.parent,
        Path("/"),
    ):
        with pytest.raises(PermissionDenied, match="churn version 1 lies at") as caught:
            trusted_folder(path, [str(store), "s3://bucket/models"], "churn version 1")
        assert "MILLRACE_MODEL_SOURCES" in caught.value.hint


def test_a_store_that_is_a_link_is_the_store(store: Path) -> None:
    (store.parent / "alias").symlink_to(store)
    assert trusted_folder(store / "model", [str(store.parent / "alias")], "m") == store / "model"


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("s3://bucket/models/1/m", True),
        ("s3://bucket/models", True),
        ("s3://bucket/models-2/m", False),
        ("s3://bucket/models/../other/m", False),
        ("s3://bucket/models/%2e%2e/other", False),
        ("s3://bucket/models/%2E./other", False),
        ("s3://bucket/models/m?x=1", False),
        ("s3://other/models/m", False),
        ("http://evil.example/s3://bucket/models/m", False),
    ],
)
def test_urls_under_a_trusted_one(url: str, trusted: bool) -> None:  # noqa: FBT001 - a column of the table
    assert is_trusted_url(url, ["/a/folder", "s3://bucket/models/"]) is trusted


@pytest.mark.parametrize(
    "flavors",
    [
        {"sklearn": {"pickled_model": "../model.pkl"}},
        {"sklearn": {"pickled_model": "/etc/passwd"}},
        {"sklearn": {"pickled_model": ".."}},
        {"python_function": {"artifacts": {"weights": {"path": "artifacts/../../x"}}}},
        {"python_function": {"code": ["../code"]}},
        {"xgboost": {"data": "link/model.ubj"}},
    ],
)
def test_a_model_whose_files_are_elsewhere_is_refused(tmp_path: Path, flavors: dict[str, object]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "other").mkdir()
    if "xgboost" in flavors:
        (folder / "link").symlink_to(tmp_path / "other")
    with pytest.raises(PermissionDenied, match="leads out of itself"):
        require_closed(folder, flavors)


def test_a_link_out_of_the_folder_is_refused_though_nothing_names_it(tmp_path: Path) -> None:
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "run.py").symlink_to(tmp_path / "run.py")
    with pytest.raises(PermissionDenied, match=r"run\.py"):
        require_closed(tmp_path / "model", {})


def test_what_stays_inside_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "same").symlink_to(folder / "data")
    flavors = {
        "sklearn": {"pickled_model": "data/model.pkl", "sklearn_version": "1.9", "code": None},
        "python_function": {
            "env": {"conda": "conda.yaml"},
            "config": {"cache": "/var/cache/mine"},
            "artifacts": {"weights": {"path": "artifacts/w", "uri": "/mnt/ada/w"}},
            "model_code_path": "/mnt/ada/model.py",
        },
    }
    require_closed(folder, flavors)
