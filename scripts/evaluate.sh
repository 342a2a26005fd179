#!/usr/bin/env bash
# The evaluator of a run of this directory, with the flags of that run:
#   ./scripts/evaluate.sh omniglot_1shot_v1 --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
# It evaluates every checkpoint that appears in --train_log_dir; see eval/results.jsonl there, and
# TensorBoard. Further flags are passed on.
exec bash "$(dirname "$0")/with_flags_of.sh" evaluate_model "$@"
