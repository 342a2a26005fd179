#!/usr/bin/env bash
# Create the virtual environment .venv of this repository and install the package into it:
#   setup_venv.sh [dev|docs|report]    (default report)
# $PYTHON is the interpreter to create it with (3.10 or newer, default python3). Do nothing if it
#   already exists.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
root=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
extra=${1:-report}
done_mark="$root/.venv/installed-$extra"
if [ -f "$done_mark" ] && [ "$done_mark" -nt "$root/setup.py" ]; then exit 0; fi
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "error: $python is $("$python" --version 2>&1); Python 3.10 or newer is needed:" \
    "set PYTHON to one." >&2
  exit 2
}
echo "Setting up $root/.venv (TensorFlow is a large download: a few minutes)"
[ -x "$root/.venv/bin/python" ] || "$python" -m venv "$root/.venv"
"$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --editable "$root[$extra]"
touch "$done_mark"
