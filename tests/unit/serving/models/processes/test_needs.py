from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from millrace.serving.models.processes.needs import Needs, needs_of
from tests.unit.serving.conftest import WriteModel

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NUMPY, XGBOOST = metadata.version("numpy"), metadata.version("xgboost-cpu")


@pytest.fixture
def model(write_model: WriteModel) -> Any:
    def write(*requirements: str, python: str | None = None) -> Path:
        flavor = {"loader_module": "x"} | ({} if python is None else {"python_version": python})
        folder = write_model("model", {"python_function": flavor}, [("amount", "double")])
        (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
        return folder

    return write


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        f"numpy=={NUMPY}",
        "NumPy>=2,<99  # as it was",
        "numpy==0.1 ; python_version < '3'",
        f"xgboost=={XGBOOST}",
        "pandas[parquet]",
        # What loads the model, what names no package.
        "mlflow==1.0",
        "-c constraints.txt",
        "--extra-index-url nowhere",
        "# pricing==1.0",
        "",
    ],
)
def test_what_is_here_is_not_needed(model: Any, line: str) -> None:
    assert needs_of(model(line)) is None


@pytest.mark.parametrize(
    ("line", "package", "reason"),
    [
        ("numpy==0.1", "numpy==0.1", f"numpy==0.1 ({NUMPY} is installed)"),
        ("numpy<2 ; python_version > '3'", None, f'numpy<2; python_version > "3" ({NUMPY} is installed)'),
        ("pricing>=1", "pricing>=1", "pricing>=1 (not installed)"),
        ("xgboost==0.1", "xgboost==0.1", f"xgboost==0.1 ({XGBOOST} is installed)"),
        ("numpy @ file:///srv/numpy.whl", None, "numpy from an address of its own"),
    ],
)
def test_what_differs_is_named(model: Any, line: str, package: str | None, reason: str) -> None:
    needs = needs_of(model("pandas", line))
    assert needs is not None
    assert needs.reasons == (reason,)
    assert package is None or needs.packages == (package,)


def test_an_extra_asks_for_what_it_adds(model: Any) -> None:
    needs = needs_of(model("pandas[parquet]", "sqlalchemy[oracle]"))
    assert needs is not None
    assert needs.packages == ("sqlalchemy[oracle]",)
    assert "(not installed)" in needs.reasons[0]


@pytest.mark.parametrize("python", [HERE, f"{HERE}.99", None])
def test_the_same_python(model: Any, python: str | None) -> None:
    assert needs_of(model("numpy", python=python)) is None


def test_another_python_needs_everything(model: Any) -> None:
    assert needs_of(model("numpy>=1", "mlflow==3.1", python="3.7.9")) == Needs(
        ("numpy>=1", "mlflow", "pandas"), (f"Python 3.7 ({HERE} is here)",), "3.7"
    )


def test_a_model_without_requirements_needs_nothing(write_model: WriteModel) -> None:
    assert needs_of(write_model("model", {"python_function": {}}, [("amount", "double")])) is None
