#!/usr/bin/env bash
# Runs a program of this checkout: run.sh train|evaluate_model|report|utils/FILE.py FLAGS...
# Relative paths are the caller's.
# Python is $PYTHON, else the checkout's .venv, else python3.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
# The code of this checkout, also from within another one (Python 3.11 and newer).
export PYTHONSAFEPATH=1
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
program=$1
shift
[[ $program != utils/*.py ]] || exec "$python" "$root/$program" "$@"
exec "$python" -m "hypertransformer.$program" "$@"
