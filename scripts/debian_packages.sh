#!/usr/bin/env bash
# Sees to Debian packages, those that `make test-all` needs or commands named by their packages (`debian_packages.sh wrk`):
# installs what is missing where it may, else says what to install.
set -euo pipefail

missing=()
for command in "$@"; do
  command -v "$command" >/dev/null || missing+=("$command")
done
if [ $# -eq 0 ]; then
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
  command -v redis-server >/dev/null || missing+=(redis-server)
  command -v strace >/dev/null || missing+=(strace)
  PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep 'libgomp\.so\.1' >/dev/null || missing+=(libgomp1)
  # For a real Spark; whichever Java this Debian has as its own.
  command -v java >/dev/null || [ -n "${JAVA_HOME:-}" ] || missing+=(default-jre-headless)
  # Schedules are compared with Quartz itself, by a small program that the tests compile.
  command -v javac >/dev/null || missing+=(default-jdk-headless)
  [ -e /usr/share/java/quartz2.jar ] || missing+=(libquartz2-java)
  [ -e /usr/share/java/slf4j-api.jar ] || missing+=(libslf4j-java)
fi
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  printf 'this needs: %s\n  hint: as root, apt-get install %s\n' "${missing[*]}" "${missing[*]}" >&2
  exit 1
fi

echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# The tests start servers of their own: the packages' need not run. A policy of the machine's own stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
