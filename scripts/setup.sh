#!/usr/bin/env bash
# Sets up the project's own virtual environment, .venv: `scripts/setup.sh run` for using it, `scripts/setup.sh dev` for
# its tests as well. Everything is pinned and checked against hashes; outside the checkout only uv's cache is changed.
# Run again with nothing changed, it does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly profile="${1:-run}"
readonly venv=.venv
readonly oldest="3.11"

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$1" >&2
  printf '  hint: %s\n' "$2" >&2
  exit 1
}

case "$profile" in
  run | dev) ;;
  *) fail "'$profile' is not a profile" "run scripts/setup.sh run, or scripts/setup.sh dev" ;;
esac

# Compiled once here, so that no start of the program waits for it.
unset PYTHONDONTWRITEBYTECODE
# Somebody else's environment must not leak into ours.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV CONDA_PREFIX

is_new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < (${oldest/./, }))" 2>/dev/null; }

find_python() {
  local candidate candidates="${PYTHON:-python3 python3.13 python3.12 python3.11}"
  for candidate in $candidates; do
    if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail "there is no Python $oldest or later; looked for: $candidates" \
    "install one (Debian: apt-get install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3"
}

make_venv() {
  if [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python"; then
    return
  fi
  local python
  python="$(find_python)"
  if ! "$python" -c "import venv, ensurepip" 2>/dev/null; then
    fail "$python has no venv module" "install it (Debian: apt-get install python3-venv)"
  fi
  say "making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
}

# What the environment was made from: another lock, another place or another Python is another environment.
fingerprint() {
  {
    cat requirements/bootstrap.txt "requirements/$1.txt" pyproject.toml "${BASH_SOURCE[0]}"
    pwd -P
    "$venv/bin/python" -VV
  } | sha256sum | cut -d' ' -f1
}

is_done() { [ "$(cat "$venv/.set-up-$1" 2>/dev/null)" = "$(fingerprint "$1")" ]; }

unreachable() {
  fail "the packages could not be downloaded or did not match their hashes (see above)" \
    "check the network; a mirror is named by PIP_INDEX_URL for pip and UV_DEFAULT_INDEX for uv"
}

install_uv() {
  local pinned
  pinned="$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements/bootstrap.txt)"
  if [ "$("$venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" = "$pinned" ]; then
    return
  fi
  say "installing uv $pinned into $venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r requirements/bootstrap.txt || unreachable
}

install_all() {
  # Without a home there is no place for uv's cache; and where pip was given a mirror, uv uses it too.
  if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-/}" ]; then
    export UV_CACHE_DIR="${UV_CACHE_DIR:-$PWD/.work/uv-cache}"
  fi
  if [ -n "${PIP_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
  fi
  # The machine's own authorities, where it has them, so that a proxy that it trusts is trusted here.
  if [ -z "${SSL_CERT_FILE:-}" ] && [ -s /etc/ssl/certs/ca-certificates.crt ]; then
    export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
  fi
  rm -f "$venv"/.set-up-*
  say "installing requirements/$profile.txt (the first time, this downloads about half a gigabyte)"
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes \
    -r "requirements/$profile.txt" || unreachable
  remove_foreign_tests
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --compile-bytecode -e . ||
    fail "millrace itself could not be installed (see above)" "remove $venv and try again"
  fingerprint "$profile" >"$venv/.set-up-$profile"
}

# Some packages carry their own test suites, a hundred megabytes that nobody imports.
remove_foreign_tests() {
  local package
  for package in matplotlib numpy pandas pyarrow pysail scipy; do
    find "$venv"/lib/python*/site-packages/"$package" -type d -name tests -prune -exec rm -rf {} +
  done
}

check_openmp() {
  if ! "$venv/bin/python" -c "import ctypes; ctypes.CDLL('libgomp.so.1')" 2>/dev/null; then
    say "note: LightGBM needs the system's OpenMP library, which is missing; all else works without it"
    say "      to use LightGBM: apt-get install libgomp1 (as root)"
  fi
}

make_venv
# What the tests need includes what the program needs.
if is_done dev || is_done "$profile"; then
  exit 0
fi
started=$SECONDS
install_uv
install_all
check_openmp
say "done in $((SECONDS - started)) s, $(du -sh "$venv" | cut -f1) in $venv"
