#!/usr/bin/env bash
# Makes .spark, a virtual environment with a real Spark, for the tests that run against one (`make test-all`). It is apart
# from .venv because Spark and the client that millrace uses both install the package `pyspark`. The first time, this
# downloads about 450 MB and takes 800 MB of disk; run again with nothing changed, it does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=.spark
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV CONDA_PREFIX

[ -x .venv/bin/uv ] || {
  printf 'spark: .venv is missing\n  hint: make setup-dev\n' >&2
  exit 1
}

# The same Python on both sides: functions that users write travel to Spark's own workers.
fingerprint() {
  {
    cat requirements/spark.txt "${BASH_SOURCE[0]}"
    pwd -P
    .venv/bin/python -VV
  } | sha256sum | cut -d' ' -f1
}

if [ "$(cat "$venv/.set-up" 2>/dev/null)" = "$(fingerprint)" ]; then
  exit 0
fi
started=$SECONDS
printf 'spark: installing requirements/spark.txt into %s (about 450 MB to download, 800 MB on disk)\n' "$venv"
if [ -n "${PIP_INDEX_URL:-}" ]; then
  export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
fi
if [ -z "${SSL_CERT_FILE:-}" ] && [ -s /etc/ssl/certs/ca-certificates.crt ]; then
  export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi
if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-/}" ]; then
  export UV_CACHE_DIR="${UV_CACHE_DIR:-$PWD/.work/uv-cache}"
fi
.venv/bin/uv venv --quiet --clear --python .venv/bin/python "$venv"
.venv/bin/uv pip install --quiet --python "$venv/bin/python" --require-hashes -r requirements/spark.txt || {
  printf 'spark: the packages could not be downloaded or did not match their hashes (see above)\n' >&2
  printf '  hint: check the network; a mirror is named by UV_DEFAULT_INDEX\n' >&2
  exit 1
}
fingerprint >"$venv/.set-up"
printf 'spark: done in %s s, %s in %s\n' "$((SECONDS - started))" "$(du -sh "$venv" | cut -f1)" "$venv"
