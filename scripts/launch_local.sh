#!/usr/bin/env bash
# Start a cluster of several processes on this machine, for testing (docs/cluster.md):
#   launch_local.sh --workers=N [--ps=M] [--sync] [--evaluator] SCRIPT ARGS...
#   ./scripts/launch_local.sh --workers=2 --sync omniglot_1shot_v2 \
#     --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
# SCRIPT is a training script of this directory. --workers is the number of training processes,
# including the chief. Every line of output begins with the name of its process. Ctrl-C stops all.
# The interpreter is $PYTHON if set, otherwise the repository's .venv, otherwise python3.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
exec "$python" "$root/utils/launch_local.py" "$@"
