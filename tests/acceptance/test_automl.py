"""AutoML as a reader of its page, and a user of the command line, meets it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BIN = Path(sys.executable).parent


def millrace(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_BIN / "millrace"), *arguments], cwd=folder, capture_output=True, text=True, check=False, env=os.environ
    )


@pytest.mark.long
def test_the_page_is_done_as_it_is_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "automl.md").read_text(), re.DOTALL | re.MULTILINE)
    program = "\n".join(blocks).replace("minutes=1)", "minutes=5, max_trials=6, folds=2)")
    program += "\nassert version == '1'\nassert len(probabilities) == 1000\n"
    (tmp_path / "page.py").write_text(program)
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "final model" in done.stdout


@pytest.mark.long
def test_from_a_file_to_a_registered_model(tmp_path: Path) -> None:
    lines = ["spend,visits,churned", *(f"{place * 7 % 50},{place % 9},{int(place % 9 > 4)}" for place in range(200))]
    (tmp_path / "customers.csv").write_text("\n".join(lines) + "\n")
    assert millrace(tmp_path, "table", "import", "shop.customers", "customers.csv").returncode == 0
    wrong = millrace(tmp_path, "automl", "shop.customers", "churnd")
    assert wrong.returncode == 1
    assert "did you mean 'churned'?" in wrong.stderr
    done = millrace(
        tmp_path,
        *("automl", "shop.customers", "churned", "--max-trials", "2", "--register", "ml.models.churn", "--json"),
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["version"] == "1"
    assert [trial["name"] for trial in said["trials"]] == ["dummy 0", "linear 1"]
    assert "best" in done.stderr
