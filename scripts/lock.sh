#!/usr/bin/env bash
# Writes requirements/*.txt from pyproject.toml: exact versions with hashes, for all platforms. What is locked stays as
# it is unless pyproject.toml rules it out; `scripts/lock.sh --upgrade` takes the newest of everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() {
  .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --custom-compile-command "make lock" "$@"
}

compile "$@" pyproject.toml --extra build -o requirements/run.txt
compile "$@" pyproject.toml --extra dev -c requirements/run.txt -o requirements/dev.txt
# The tool that installs the rest is itself pinned, to the version that the others have.
echo uv | compile - -c requirements/run.txt -o requirements/bootstrap.txt
# A real Spark, for tests against one: it installs the package `pyspark` too, so it has an environment of its own.
echo 'pyspark[connect]==4.3.0' | compile - -o requirements/spark.txt
# What the benchmark of training sets is compared with, in an environment of its own as well.
echo 'feast[duckdb]==0.67.0' | compile - -o requirements/bench-feast.txt
# The peers of the serving benchmark, each in an environment of its own. XGBoost comes from xgboost-cpu: the package `xgboost`,
# which two of them ask for, brings half a gigabyte for graphics cards.
peer() {
  printf '%s\n' "${@:2}" xgboost-cpu==3.2.0 |
    compile - --override <(echo 'xgboost ; python_version < "0"') -o "requirements/bench-serving-$1.txt"
}
peer mlflow mlflow==3.17.2
peer mlserver mlserver==1.7.1 mlserver-xgboost==1.7.1 scikit-learn
peer bentoml bentoml==1.4.40 scikit-learn
peer ray 'ray[serve]==2.60.0' scikit-learn
# The peers of the monitoring benchmark. Evidently does not start with pandas 3.1; NannyML does not say that it needs statsmodels, and the
# newest kaleido that it allows is for ARM only.
printf '%s\n' evidently==0.7.23 'pandas<3.1' | compile - -o requirements/bench-monitoring-evidently.txt
printf '%s\n' nannyml==0.13.1 kaleido==0.2.1 statsmodels | compile - -o requirements/bench-monitoring-nannyml.txt
# The peers of the AutoML benchmark, which are optional engines of AutoML too. FLAML wants XGBoost before 3; AutoGluon comes without torch and without ray.
automl() {
  printf '%s\n' "${@:2}" pyarrow |
    compile - --override <(echo 'xgboost ; python_version < "0"') -o "requirements/bench-automl-$1.txt"
}
automl flaml 'flaml[automl]==2.7.0' 'xgboost-cpu<3'
automl autogluon 'autogluon.tabular[lightgbm,xgboost,catboost]==1.6.3' xgboost-cpu
