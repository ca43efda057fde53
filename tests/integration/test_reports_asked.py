"""`--junit` and `--markdown` of `millrace validate` and `millrace deploy`, and their exit codes, over a version that passed and one that was refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from millrace.cli.main import main
from tests.integration.promoted_homes import MODEL, log_version, make_homes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
Told = tuple[int, list[tuple[str, str | None]], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two homes, and in `dev` v1, which passed its gates, and v2, which one of them refused."""
    folder = tmp_path_factory.mktemp("asked")
    workspace = make_homes(folder).open("dev")
    log_version(workspace, passed=False, threshold=12.0)
    workspace.close()
    return folder


@pytest.fixture
def ask(folder: Path, tmp_path: Path) -> Callable[..., Told]:
    """Runs a command; gives its exit code, the test cases in its JUnit file with why each failed, and its Markdown."""

    def run(*line: str) -> Told:
        junit, markdown = tmp_path / "it.xml", tmp_path / "it.md"
        code = main([*line, "--project", str(folder), "--junit", str(junit), "--markdown", str(markdown)])
        (suite,) = ET.parse(junit).getroot()  # noqa: S314 - our own
        cases = [(case.attrib["name"], _why(case)) for case in suite.iter("testcase")]
        assert int(suite.attrib["failures"]) == sum(why is not None for _, why in cases)
        return code, cases, markdown.read_text()

    return run


def _why(case: ET.Element) -> str | None:
    failure = case.find("failure")
    return None if failure is None else failure.attrib["message"]


def test_a_verdict_is_in_the_files_and_in_the_exit_code(ask: Callable[..., Told]) -> None:
    code, cases, markdown = ask("validate", MODEL, "1")
    assert (code, cases) == (0, [("at_least", None)])
    assert "## ✅" in markdown
    code, cases, markdown = ask("validate", f"{MODEL}/2")
    assert (code, cases) == (3, [("at_least", "roc_auc 0.9")])
    assert "## ❌" in markdown
    code, cases, markdown = ask("validate", MODEL, "7")
    assert (code, len(cases)) == (1, 1)
    assert "7" in str(cases[0][1])


def test_a_deployment_is_in_the_files_and_in_the_exit_code(ask: Callable[..., Told]) -> None:
    code, cases, _ = ask("deploy", MODEL, "2", "--to", "shop-staging")
    assert (code, cases) == (3, [("at_least", "roc_auc 0.9")])
    code, cases, markdown = ask("deploy", MODEL, "1", "--to", "prod")
    refused = "nobody has approved ml.models.shop v1 for target prod"
    assert (code, cases[-1]) == (3, ("approval", refused))
    assert "nobody has approved" in markdown
    code, cases, markdown = ask("deploy", MODEL, "1", "--to", "shop-staging")
    assert (code, [why for _, why in cases]) == (0, [None, None])
    assert "shop-staging serves" in markdown
    code, cases, markdown = ask("deploy", MODEL, "7", "--to", "shop-staging")
    assert (code, len(cases)) == (1, 1)
