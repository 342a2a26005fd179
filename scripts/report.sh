#!/usr/bin/env bash
# Prints what the evaluator found in a run of this folder, beside chance and a pixel baseline:
#   ./scripts/report.sh omniglot_1shot_v1 --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
# Further flags are passed on.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/with_flags_of.sh" report "$@"
