from __future__ import annotations

import sys
from pathlib import Path

import pytest

from millrace.core.errors import InvalidInput, MillraceError, NotFound, UsageError
from millrace.pipeline.load import load_pipeline

PAGE = """
import millrace as mr

label = mr.Label("ml.labels.churn", "churned", ("id",), "at")
lookups = [mr.FeatureLookup("ml.features.churn", "id")]
{name} = mr.Pipeline(name="{name}", label=label, lookups=lookups, candidates=[mr.Linear()], gates=[])
"""


def page(folder: Path, text: str) -> Path:
    file = folder / "pipeline.py"
    file.write_text(text)
    return file


def test_the_only_pipeline_of_a_file(tmp_path: Path) -> None:
    file = page(tmp_path, PAGE.format(name="churn"))
    assert load_pipeline(file).name == load_pipeline(str(file), "churn").name == "churn"


def test_a_file_with_several_wants_a_name(tmp_path: Path) -> None:
    file = page(tmp_path, PAGE.format(name="churn") + PAGE.format(name="upsell") + "again = churn\n")
    assert load_pipeline(file, "upsell").name == "upsell"
    with pytest.raises(UsageError, match="defines 2 pipelines") as several:
        load_pipeline(file)
    assert several.value.hint == "name one of churn, upsell"
    with pytest.raises(NotFound, match="has no pipeline 'chrun'") as unknown:
        load_pipeline(file, "chrun")
    assert unknown.value.hint == "did you mean 'churn'?"


def test_modules_beside_the_file_can_be_imported_and_the_path_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "names_of_test_load.py").write_text("NAME = 'churn'\n")
    text = "from names_of_test_load import NAME\n" + PAGE.format(name="churn").replace('name="churn"', "name=NAME")
    before = list(sys.path)
    assert load_pipeline(page(tmp_path, text)).name == "churn"
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("x = 1\n", InvalidInput, "defines no pipeline"),
        ("x = 1\ny = (\n", InvalidInput, "line 2: SyntaxError"),
        ("x = 1\n\nundefined()\n", InvalidInput, "line 3: NameError: name 'undefined' is not defined"),
        ("def f():\n    return 1 / 0\n\nf()\n", InvalidInput, "line 2: ZeroDivisionError"),
        ("import nowhere_at_all\n", InvalidInput, "line 1: ModuleNotFoundError"),
        ("import sys\nsys.exit(4)\n", InvalidInput, "line 2: SystemExit: 4"),
        ("import millrace as mr\nmr.Source('a')\n", InvalidInput, "line 2: source a has no event_time"),
        ("import millrace as mr\n\nmr.Pipline\n", InvalidInput, "line 3: AttributeError"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(
    tmp_path: Path, text: str, kind: type[MillraceError], message: str
) -> None:
    with pytest.raises(kind) as refused:
        load_pipeline(page(tmp_path, text))
    assert message in refused.value.message
    assert str(tmp_path / "pipeline.py") in refused.value.message
    assert refused.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file") as refused:
        load_pipeline(tmp_path / "pipeline.py")
    assert "millrace init" in refused.value.hint


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.txt"
    file.write_text("x = 1\n")
    with pytest.raises(InvalidInput, match="is not a Python file"):
        load_pipeline(file)
