#!/usr/bin/env bash
# tieredImageNet, sequences of 5-way 1-shot tasks, class_incremental, a CNN of 4 x 8 channels:
#   queries are classified among the classes of all tasks so far (25 after the fifth).
# Trained on sequences of 3, evaluated on 5. Method: arXiv 2301.04584, for which no code was
#   published; the settings are ours.
# Measured: not run (dataset unavailable); see docs/continual.md for Omniglot.
# Usage: ./scripts/continual_tieredimagenet_class_incremental.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/continual_tieredimagenet_class_incremental
# Baselines: --continual_method=constant_protonet or merged_hypertransformer, with another
#   --train_log_dir.
# Evaluator: ./scripts/evaluate.sh continual_tieredimagenet_class_incremental with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train continual_tieredimagenet_class_incremental "$@"
