from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_vendor_names_mean_ours_only_when_asked_for() -> None:
    done = run(
        """
try:
    import databricks.feature_engineering
except ImportError as error:
    print("plain:", type(error).__name__)
from millrace.notebooks import use_vendor_names
use_vendor_names()
use_vendor_names()
from databricks.feature_engineering import FeatureEngineeringClient, FeatureLookup
from databricks.feature_engineering.entities.feature_lookup import FeatureLookup as Same
from databricks.feature_store import FeatureStoreClient
import millrace.feature_engineering as ours
assert FeatureEngineeringClient is ours.FeatureEngineeringClient is FeatureStoreClient
assert FeatureLookup is ours.FeatureLookup is Same
for line in ("from databricks.feature_engineering import Window", "import databricks.automl", "from databricks.feature_engineering.entities import nothing", "import databricks.feature_store.online"):
    try:
        exec(line)
    except ImportError as error:
        print("error:", error)
import databricks.sdk
"""
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr == "databricks.feature_engineering is not installed: millrace.feature_engineering answers for it\n"
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "plain: ModuleNotFoundError"
    assert "millrace.feature_engineering has no 'Window'" in lines[1]
    assert "use millrace.automl.classify" in lines[2]
    assert "has no 'nothing'" in lines[3]
    assert "there is no module 'databricks.feature_store.online'" in lines[4]


@pytest.mark.slow
def test_the_real_one_comes_first(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("real")
    package = folder / "databricks" / "feature_engineering"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("REAL = True\n")
    done = run(
        f"""
import sys
sys.path.insert(0, {str(folder)!r})
from millrace.notebooks import use_vendor_names
use_vendor_names()
import databricks
databricks.__path__ = [{str(folder / "databricks")!r}, *databricks.__path__]
import databricks.feature_engineering as found
assert found.REAL
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
