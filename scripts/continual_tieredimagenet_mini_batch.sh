#!/usr/bin/env bash
# tieredImageNet, sequences of 5-way 1-shot tasks, a CNN of 4 x 8 channels with 32 outputs;
#   mini_batch:
#   the tasks are 5 pieces of one 5-shot support set of 5 classes.
# Trained on sequences of 3, evaluated on 5. Method: arXiv 2301.04584; these settings are ours, no
#   code was published.
# Measured: nothing on tieredImageNet, which was not at hand; the Omniglot runs are in README, The
#   continual method.
# Usage: ./scripts/continual_tieredimagenet_mini_batch.sh --data_numpy_dir=./data_numpy_dir
#   --train_log_dir=./logs [further flags]
#   The baselines: --continual_method=constant_protonet or merged_hypertransformer, each with its
#   own --train_log_dir.
#   Evaluator beside it: ./scripts/evaluate.sh continual_tieredimagenet_mini_batch with the same
#   flags.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/continual_tieredimagenet_class_incremental.sh" \
  --continual_scenario=mini_batch "$@"
