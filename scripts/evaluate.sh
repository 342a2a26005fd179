#!/usr/bin/env bash
# Run the evaluator with the flags of a recipe:
#   ./scripts/evaluate.sh omniglot_1shot_v1 --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs/omniglot_1shot_v1
# It evaluates every new checkpoint in --train_log_dir and writes eval/results.jsonl there, and
# TensorBoard summaries. Further flags are passed on.
exec bash "$(dirname "$0")/with_flags_of.sh" evaluate_model "$@"
