#!/usr/bin/env bash
# Omniglot, sequences of 5-way 1-shot tasks, task_incremental, a CNN of 4 x 8 channels:
#   queries are classified among the 5 classes of their own task.
# Trained on sequences of 3, evaluated on 5. Method: arXiv 2301.04584, for which no code was
#   published; the settings are ours.
# Measured: see docs/continual.md.
# Usage: ./scripts/continual_omniglot_task_incremental.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/continual_omniglot_task_incremental
# Baselines: --continual_method=constant_protonet or merged_hypertransformer, with another
#   --train_log_dir.
# Evaluator: ./scripts/evaluate.sh continual_omniglot_task_incremental with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train continual_omniglot_task_incremental "$@"
