#!/usr/bin/env bash
# Starts a cluster of several processes on this machine, for trying (docs/cluster.md):
#   launch_local.sh --workers=N [--ps=M] [--sync] [--evaluator] SCRIPT ARGS...
#   ./scripts/launch_local.sh --workers=2 --sync omniglot_1shot_v2 \
#     --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
# SCRIPT is a run of this folder. --workers counts the processes that train, the chief included.
# Every line of output begins with the name of its process. Ctrl-C ends all of them.
# Python is $PYTHON, else the checkout's .venv, else python3.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
exec "$python" "$root/utils/launch_local.py" "$@"
