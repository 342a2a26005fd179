#!/usr/bin/env bash
# miniImageNet, 5-way 5-shot, a CNN of 4 x 16 channels.
# Paper: arXiv 2201.04182, miniImageNet 5-way 5-shot: 68.1 %.
# Measured: not run at this length yet on the real data (see docs/results.md).
# Usage: ./scripts/miniimagenet_5shot_v1.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/miniimagenet_5shot_v1
# Evaluator: ./scripts/evaluate.sh miniimagenet_5shot_v1 with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train miniimagenet_5shot_v1 "$@"
