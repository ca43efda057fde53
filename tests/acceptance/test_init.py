"""`millrace init`: the project that it writes works as its README says."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace.ci.project import find_project

pytestmark = pytest.mark.slow

START = datetime(2024, 9, 2, tzinfo=UTC)
DAYS, CUSTOMERS = 300, 900


def _millrace(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "millrace.cli.main", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "MILLRACE_HOME"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def _write_transactions(file: Path) -> None:
    """A shop in balance: customers come all the time, buy every tenth day, and leave as likely on one day as on another."""
    random = np.random.default_rng(5)
    joined = random.uniform(-600, DAYS, CUSTOMERS)
    left = joined + random.exponential(150, CUSTOMERS)
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(["customer_id", "transaction_date", "amount"])
        for customer in range(CUSTOMERS):
            for day in np.flatnonzero(random.random(DAYS) < 0.1):
                if joined[customer] <= day < left[customer]:
                    at = START + timedelta(days=int(day), hours=12)
                    writer.writerow([customer, f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{random.gamma(2.0, 20.0):.2f}"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    said = _millrace(folder, "init", "my-shop")
    assert said.stdout.startswith(
        "made my-shop/ with .gitignore, README.md, millrace.toml, pipeline.py, requirements.txt, test_pipeline.py"
    )
    return folder / "my-shop"


def test_names_that_can_not_be_and_folders_with_something_in_them(project: Path) -> None:
    taken = _millrace(project.parent, "init", "my-shop", code=1)
    assert taken.stderr == "error: my-shop is not empty\n  hint: choose another name\n"
    wrong = _millrace(project.parent, "init", "my shop", code=2)
    assert "'my shop' is not a project name" in wrong.stderr
    assert sorted(file.name for file in project.parent.iterdir()) == ["my-shop"]


def test_its_own_test_passes(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_its_targets_are_one_home_and_ci_can_start_from_it(project: Path) -> None:
    read = find_project(project)
    assert [(target.name, target.home, target.approval) for target in read.targets] == [
        ("dev", None, False),
        ("staging", None, False),
        ("prod", None, True),
    ]
    said = _millrace(project, "ci", "init", "--provider", "gitlab").stdout
    assert "written" in said
    assert "requirements.txt" not in said
    (project / ".gitlab-ci.yml").unlink()


def test_it_runs_on_rows_of_the_kind_that_it_describes(project: Path) -> None:
    _write_transactions(project / "transactions.csv")
    readme = (project / "README.md").read_text()
    imports = next(line.strip() for line in readme.splitlines() if "table import" in line)
    assert imports == 'millrace table import bronze.transactions transactions.csv --type "amount=decimal(18,2)"'
    _millrace(project, "table", "import", "bronze.transactions", "transactions.csv", "--type", "amount=decimal(18,2)")

    until = f"{START + timedelta(days=DAYS):%Y-%m-%d}"
    planned: dict[str, Any] = json.loads(_millrace(project, "plan", "--as-of", until, "--json").stdout)
    assert [step["stage"] for step in planned["steps"]][:3] == [
        "features ml.features.my_shop",
        "labels ml.labels.my_shop",
        "publish ml.features.my_shop",
    ]
    ran: dict[str, Any] = json.loads(_millrace(project, "run", "--as-of", until, "--json").stdout)
    assert ran["status"] == "done"
    assert ran["stages"][-1]["detail"] == "my-shop serves v1"
    assert (project / ".millrace" / "millrace.db").is_file()
