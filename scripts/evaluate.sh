#!/usr/bin/env bash
# The evaluator of a run of this folder, with the flags of that run:
#   ./scripts/evaluate.sh omniglot_1shot_v1 --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
# It evaluates every checkpoint that appears in --train_log_dir; see eval/results.jsonl there, and
# TensorBoard. Further flags are passed on.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/with_flags_of.sh" evaluate_model "$@"
