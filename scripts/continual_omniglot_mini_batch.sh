#!/usr/bin/env bash
# Omniglot, sequences of 5-way 1-shot tasks, mini_batch, a CNN of 4 x 8 channels:
#   the tasks are 5 parts of one 5-shot support set of 5 classes.
# Trained on sequences of 3, evaluated on 5. Method: arXiv 2301.04584, for which no code was
#   published; the settings are ours.
# Measured: see docs/continual.md.
# Usage: ./scripts/continual_omniglot_mini_batch.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/continual_omniglot_mini_batch
# Baselines: --continual_method=constant_protonet or merged_hypertransformer, with another
#   --train_log_dir.
# Evaluator: ./scripts/evaluate.sh continual_omniglot_mini_batch with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train continual_omniglot_mini_batch "$@"
