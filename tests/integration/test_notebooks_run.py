"""Notebooks in real kernels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.processes import is_alive
from millrace.jobs.task_values import VARIABLE, give, read_values
from millrace.notebooks import NotebookResult, run_notebook

pytestmark = pytest.mark.slow

_PATIENCE_S = 120
_HIDDEN = "tell-nobody-<this>"


def write(path: Path, *cells: str) -> Path:
    """A notebook in source format; cells that begin with % are magic ones."""
    made = []
    for cell in cells:
        lines = textwrap.dedent(cell).strip("\n").split("\n")
        made.append("\n".join(f"# MAGIC {line}" for line in lines) if lines[0].startswith("%") else "\n".join(lines))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# Databricks notebook source\n" + "\n\n# COMMAND ----------\n\n".join(made) + "\n")
    return path


def run(path: Path, **options: Any) -> NotebookResult:
    folder = path.parent
    options.setdefault("home", folder / "home")
    return run_notebook(path, output=folder / "out" / f"{path.stem}.ipynb", **options)


def outputs(path: Path) -> list[str]:
    """What each cell showed, as text."""
    cells = json.loads(path.read_text())["cells"]
    return ["".join(_text(output) for output in cell.get("outputs", [])) for cell in cells]


def _text(output: dict[str, Any]) -> str:
    if output["output_type"] == "error":
        return "\n".join(output["traceback"])
    data = output.get("data", {})
    return (
        "".join(output.get("text", []))
        + "".join("".join(value) for kind, value in data.items() if kind != "image/png")
        + ("[picture]" if "image/png" in data else "")
    )


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[NotebookResult, list[str]]:
    """A notebook that uses all names, and what its cells showed."""
    folder = tmp_path_factory.mktemp("everything")
    (folder / "home").mkdir(mode=0o700)
    secrets = folder / "home" / "secrets.json"
    secrets.write_text(json.dumps({"shop": {"key": _HIDDEN}}))
    secrets.chmod(0o600)
    write(folder / "names.py", "%md\n# Names", "greeting = 'hello'\nday = dbutils.widgets.get('day')", "print('inner')")
    path = write(
        folder / "all.py",
        "# a remark only",
        "%run ./names $day='friday'",
        "print(greeting, day, dbutils.widgets.get('given'))",
        "%sql\nCREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1 AS one;\nSELECT one, :given AS given FROM v",
        "display(_sqldf)\nprint(type(spark).__mro__[1].__name__, spark.conf.get('spark.sql.session.timeZone') or '')",
        "import pandas as pd\ndisplay(pd.DataFrame({'a': range(2000)}))",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\ndisplayHTML('<b>bold</b>')",
        f"""
        secret = dbutils.secrets.get("shop", "key")
        import sys, time
        print(secret); sys.stdout.write(secret[:5]); sys.stdout.flush(); time.sleep(0.3); print(secret[5:])
        displayHTML(secret.replace("<", "&lt;").replace(">", "&gt;"))
        display({{"secret": secret}})
        secret, dbutils.secrets.getBytes("shop", "key"), len(secret) == {len(_HIDDEN)}
        """,
        "for number in range(40_000): print('x' * 100)",
        "from databricks.feature_engineering import FeatureLookup\nFeatureLookup.__module__",
        """
        import os, time
        print(os.environ["TZ"], time.tzname[0], os.environ["MLFLOW_EXPERIMENT_NAME"], os.environ["MLFLOW_TRACKING_URI"])
        from millrace.notebooks import dbutils as same
        print(same is dbutils)
        """,
        "await __import__('asyncio').sleep(0)\ndbutils.fs.put('dbfs:/a.txt', 'x')\nprint([f.name for f in dbutils.fs.ls('dbfs:/')])",
        """
        import mlflow
        with mlflow.start_run() as run_:
            mlflow.log_metric("auc", 0.5)
            mlflow.log_text("hello", "a.txt")
        print(mlflow.get_experiment(run_.info.experiment_id).name, run_.info.artifact_uri)
        """,
        """
        dbutils.jobs.taskValues.set("rows", 3)
        print(dbutils.jobs.taskValues.get("before", "auc"))
        try:
            dbutils.notebook.exit(f"done with {secret}")
        except Exception:
            print("nobody catches an exit")
        """,
        "print('never')",
    )
    result = run(
        path,
        parameters={"given": "G", "mistyped": "M"},
        task_key="me",
        task_values={"before": {"auc": 0.75}},
    )
    return result, outputs(result.output)


def test_the_names_that_people_know_are_there(everything: tuple[NotebookResult, list[str]]) -> None:
    result, shown = everything
    assert shown[2] == "hello friday G\n"
    assert "inner" in shown[1]
    assert "one  given\n---  -----\n1    G" in shown[3]
    assert "1    G" in shown[4]
    assert "SparkSession UTC" in shown[4]
    assert "20 of 1,001 rows" in shown[5] or "the first 1,000 rows" in shown[5]
    assert "[picture]" in shown[6]
    assert "<b>bold</b>" in shown[6]
    assert shown[11] == "['a.txt']\n"
    assert shown[14] == ""
    assert "[ok]" not in "".join(shown)
    assert (result.exit_value, result.cells) == ("done with [REDACTED]", 14)
    assert result.task_values == {"rows": 3}
    assert "0.75" in shown[13]
    assert "nobody catches" not in shown[13]
    assert result.notes == ["the parameter 'mistyped' was given, and nothing asked for it"]


def test_a_secret_is_in_no_output(everything: tuple[NotebookResult, list[str]]) -> None:
    result, shown = everything
    assert shown[7].count("[REDACTED]") >= 5
    assert "True" in shown[7]
    for file in result.output.parent.parent.rglob("*"):
        if file.is_file() and file.name != "secrets.json":
            assert _HIDDEN.encode() not in file.read_bytes(), file
            assert b"nobody-" not in file.read_bytes() or file.suffix == ".py", file


def test_what_is_too_much_is_cut_and_told(everything: tuple[NotebookResult, list[str]]) -> None:
    assert len(everything[1][8]) < 1_000_300
    assert "left out: it is more than 1,000,000 characters" in everything[1][8]


def test_vendor_names_are_ours_and_it_is_said_once(everything: tuple[NotebookResult, list[str]]) -> None:
    assert "millrace.feature_engineering answers for it" in everything[1][9]
    assert "millrace.features.types" in everything[1][9]


def test_the_environment_is_the_homes(everything: tuple[NotebookResult, list[str]]) -> None:
    result, shown = everything
    home = result.path.parent / "home"
    assert shown[10] == f"UTC UTC /all sqlite:///{home / 'mlflow.db'}\nTrue\n"
    assert "/all file://" in shown[12]
    assert str(home / "mlartifacts") in shown[12]
    assert not (result.path.parent / "mlruns").exists()


def test_files_for_short(tmp_path: Path) -> None:
    cells = ["dbutils.fs.put('dbfs:/day/a.txt', 'seven')", "%fs cp dbfs:/day/a.txt 'dbfs:/day/b c.txt'"]
    cells += ["%fs ls dbfs:/day", "%fs head 'dbfs:/day/b c.txt'", "%fs rm -r dbfs:/day", "%fs ls dbfs:/"]
    shown = outputs(run(write(tmp_path / "files.py", *cells)).output)
    assert ["a.txt" in shown[2], "b c.txt" in shown[2]] == [True, True]
    assert "seven" in shown[3]
    assert "day" not in shown[5]
    with pytest.raises(
        InvalidState, match="cell 1 failed at line 1: NotFound: %fs list dbfs:/ is no command"
    ) as failed:
        run(write(tmp_path / "none.py", "%fs list dbfs:/"))
    assert "there is: ls, head, cp, mv, rm, mkdirs" in failed.value.message + failed.value.hint


def test_a_failing_cell_is_named_with_its_line_and_the_rest_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "inside.py", "x = 1", "def broken(): return 1 / 0", "y = broken()")
    path = write(
        tmp_path / "seven.py",
        "%md\n# Seven",
        "a = 1",
        "print('two')",
        "# DBTITLE 1,Four\nb = 2",
        "def deep():\n    raise ValueError('no rows')",
        "print('six')",
        "# DBTITLE 1,Train\nc = 1\n\nd = deep()",
        "print('eight')",
    )
    with pytest.raises(InvalidState) as failed:
        run(path)
    error = failed.value
    assert error.message == "seven.py: cell 7 (Train) failed at line 3: ValueError: no rows\n  | d = deep()"
    assert str(tmp_path / "out" / "seven.ipynb") in error.hint
    facts = {name: error.facts[name] for name in ("cell", "title", "line", "error")}
    assert facts == {"cell": 7, "title": "Train", "line": 3, "error": "ValueError"}
    shown = outputs(tmp_path / "out" / "seven.ipynb")
    assert shown[2] == "two\n"
    assert "ValueError" in shown[6]
    assert shown[7] == ""

    with pytest.raises(InvalidState) as failed:
        run(write(tmp_path / "outer.py", "pass", "%run ./inside"))
    assert (
        "outer.py: cell 2 failed at line 1: IncludedCellFailed: cell 3 of inside.py: ZeroDivisionError"
        in failed.value.message
    )


def test_a_syntax_error_and_a_missing_widget_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidState, match=r"cell 1 failed at line 2: SyntaxError"):
        run(write(tmp_path / "syntax.py", "x = 1\ny = = 2"))
    with pytest.raises(InvalidState, match=r"cell 1 failed at line 1: NotFound: there is no widget 'day'"):
        run(write(tmp_path / "widget.py", "dbutils.widgets.get('day')"))


def test_a_kernel_that_dies_and_one_that_never_ends(tmp_path: Path) -> None:
    died = write(tmp_path / "died.py", "print('before')", "import os\nos._exit(9)", "print('after')")
    with pytest.raises(InvalidState, match=r"died.py: cell 2 killed its kernel"):
        run(died)
    assert outputs(tmp_path / "out" / "died.ipynb") == ["before\n", "", ""]
    begun = time.monotonic()
    with pytest.raises(InvalidState, match=r"endless.py: cell 2 was stopped: the notebook took longer than 20 s"):
        run(write(tmp_path / "endless.py", "print('before')", "while True:\n    pass"), timeout_s=20)
    assert time.monotonic() - begun < 120
    shown = outputs(tmp_path / "out" / "endless.ipynb")
    assert shown[0] == "before\n"
    assert "KeyboardInterrupt" in shown[1]


@pytest.mark.long
def test_one_that_does_not_heed_an_interrupt_is_killed_when_it_is_cancelled(tmp_path: Path) -> None:
    path = write(
        tmp_path / "stubborn.py",
        "import os\nopen('pid', 'w').write(str(os.getpid()))",
        "open('begun', 'w').close()\nwhile True:\n    try:\n        while True: pass\n    except KeyboardInterrupt:\n        open('heard', 'w').close()",
    )
    with pytest.raises(InvalidState, match=r"stubborn.py: cell 2 was stopped: the notebook was cancelled"):
        run(path, cancelled=(tmp_path / "begun").exists)
    assert not is_alive(int((tmp_path / "pid").read_text()))
    assert json.loads((tmp_path / "out" / "stubborn.ipynb").read_text())["cells"][0]["execution_count"] == 1


@pytest.mark.long
def test_a_notebook_runs_others_and_itself_only_so_deep(tmp_path: Path) -> None:
    write(tmp_path / "child.py", "dbutils.notebook.exit(dbutils.widgets.get('n') + dbutils.widgets.get('n'))")
    write(tmp_path / "bad.py", "1 / 0")
    path = write(
        tmp_path / "parent.py",
        "value = dbutils.notebook.run('./child', 60, {'n': 21})",
        """
        try:
            dbutils.notebook.run('./bad')
        except Exception as error:
            print(str(error).splitlines()[0])
        dbutils.notebook.exit(value)
        """,
    )
    result = run(path)
    assert result.exit_value == "2121"
    assert "bad.py: cell 1 failed at line 1: ZeroDivisionError: division by zero" in outputs(result.output)[1]
    kept = sorted(file.name for file in (tmp_path / "out" / "parent").iterdir())
    assert kept == ["001-child.ipynb", "002-bad.ipynb"]


def test_two_at_once_do_not_know_of_each_other(tmp_path: Path) -> None:
    path = write(
        tmp_path / "one.py", "n = dbutils.widgets.get('n')\nimport time\ntime.sleep(0.5)\ndbutils.notebook.exit(n)"
    )

    def once(number: int) -> str | None:
        return run_notebook(
            path, output=tmp_path / f"{number}.ipynb", home=tmp_path / "home", parameters={"n": str(number)}
        ).exit_value

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(once, range(2))) == ["0", "1"]


_SLEEPER = (
    "print('before')",
    "import os, time\nwith open('pid', 'w') as file: file.write(str(os.getpid()))\ntime.sleep(600)",
)


def start(path: Path) -> tuple[subprocess.Popen[str], int]:
    """`millrace exec` of a notebook that sleeps in its second cell, and its kernel's pid."""
    command = [sys.executable, "-m", "millrace.cli.main", "exec", str(path), "--home", "home", "--output", "out.ipynb"]
    child = subprocess.Popen(command, cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pid = path.parent / "pid"
    until = time.monotonic() + _PATIENCE_S
    while not (pid.exists() and pid.read_text()) and child.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    return child, int(pid.read_text())


def gone(pid: int) -> bool:
    until = time.monotonic() + 60
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(pid)


def test_json_of_a_failure_has_what_a_program_needs_and_the_oldest_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_KEPT_RUNS", "2")
    past = [write(tmp_path / f"home/notebooks/fails/2025030{day}T060000-aaaaaa.ipynb") for day in (1, 3, 2)]
    for each in past:
        each.with_suffix(".log").write_text("said beside it")
        write(each.with_suffix("") / "nested.ipynb")
    own = write(tmp_path / "home/notebooks/fails/kept by hand.ipynb")
    path = write(tmp_path / "fails.py", "dbutils.jobs.taskValues.set('a', 1)", "1 / 0")
    command = [sys.executable, "-m", "millrace.cli.main", "exec", str(path), "--home", "home", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert (told["status"], told["cell"], told["error"], told["task_values"]) == (
        "failed",
        2,
        "ZeroDivisionError",
        {"a": 1},
    )
    assert "[!!] cell 2 of 2" in done.stderr
    kept = set((tmp_path / "home" / "notebooks" / "fails").iterdir())
    assert kept == {own, past[1], past[1].with_suffix(""), past[1].with_suffix(".log"), Path(told["output"])}


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    child, kernel = start(write(tmp_path / "sleeper.py", *_SLEEPER))
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=_PATIENCE_S)
    assert child.returncode == 130, said
    assert "error: interrupted" in said
    assert "Traceback" not in said
    assert gone(kernel)
    shown = outputs(tmp_path / "out.ipynb")
    assert shown[0] == "before\n"
    assert "KeyboardInterrupt" in shown[1]


@pytest.mark.long
def test_killed_with_its_parent_and_what_was_there_is_kept(tmp_path: Path) -> None:
    child, kernel = start(write(tmp_path / "sleeper.py", *_SLEEPER))
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=_PATIENCE_S)
    assert gone(kernel)
    assert outputs(tmp_path / "out.ipynb")[0] == "before\n"
    # What it was told is gone when the next one begins.
    left = list(Path(tempfile.gettempdir()).glob(f"millrace-nb-{child.pid}-*"))
    assert left
    run(write(tmp_path / "next.py", "x = 1"))
    assert not left[0].exists()


def test_what_can_not_be_kept_is_told_before_anything_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "one.py", "open('ran', 'w').close()")
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidState, match=r"can't be kept in .*: (Not a directory|File exists)"):
        run_notebook(path, output=tmp_path / "file" / "out.ipynb", home=tmp_path / "home")
    with pytest.raises(InvalidInput, match="can't be"):
        run_notebook(path, output=path, home=tmp_path / "home")
    assert not (tmp_path / "ran").exists()


def test_a_program_that_a_job_runs_has_its_parameters_and_task_values(tmp_path: Path) -> None:
    give(tmp_path, {"day": "friday"}, {"train": {"auc": 0.5}})
    code = """
from millrace.notebooks import dbutils
dbutils.jobs.taskValues.set("seen", dbutils.jobs.taskValues.get("train", "auc"))
dbutils.notebook.exit(print(dbutils.widgets.get("day")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, VARIABLE: str(tmp_path), "MILLRACE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "friday\n"), done.stderr
    assert read_values(tmp_path) == {"seen": 0.5}
