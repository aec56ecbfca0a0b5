#!/bin/bash
# Programs that the tests run and no Python package brings: a browser, a tracer, a pooler, what checks
# alert rules. They are installed where this may be done (root, with apt-get); elsewhere their tests
# say what is missing.
set -euo pipefail

declare -A programs=([chromium]=chromium [strace]=strace)
# Their packages start services where there is a service manager, which nobody here asked for.
[ -d /run/systemd/system ] || programs+=([pgbouncer]=pgbouncer [prometheus]=promtool)
missing=()
for package in "${!programs[@]}"; do
  PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "${programs[$package]}" >/dev/null || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed, and not to be installed from here: ${missing[*]}" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || {
  tail -n 20 "$log" >&2
  echo "could not be installed: ${missing[*]}" >&2
}
