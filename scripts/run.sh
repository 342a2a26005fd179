#!/usr/bin/env bash
# Run a program of this repository: run.sh train|evaluate_model|report|utils/FILE.py FLAGS...
# Relative paths are relative to the caller's working directory.
# The interpreter is $PYTHON if set, otherwise the repository's .venv, otherwise python3.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
root=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
# Use the code of this checkout even when called from another one (Python 3.11 and newer).
export PYTHONSAFEPATH=1
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
program=$1
shift
[[ $program != utils/*.py ]] || exec "$python" "$root/$program" "$@"
exec "$python" -m "hypertransformer.$program" "$@"
