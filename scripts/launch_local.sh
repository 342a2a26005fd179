#!/usr/bin/env bash
# Start a cluster of several processes on this machine, for testing (docs/cluster.md):
#   launch_local.sh --workers=N [--ps=M] [--sync] [--evaluator] SCRIPT ARGS...
#   ./scripts/launch_local.sh --workers=2 --sync omniglot_1shot_v2 \
#     --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs/cluster
# SCRIPT is a recipe or a training script. --workers is the number of training processes, including
# the chief. Every line of output begins with the name of its process. Ctrl-C stops all.
exec bash "$(dirname "$0")/run.sh" utils/launch_local.py "$@"
