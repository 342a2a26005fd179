#!/usr/bin/env bash
# tieredImageNet, 5-way 5-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, tieredImageNet 5-way 5-shot: 73.9 %.
# Measured: not run at this length yet on the real data (see docs/results.md).
# Usage: ./scripts/tieredimagenet_5shot_v1.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/tieredimagenet_5shot_v1
# Evaluator: ./scripts/evaluate.sh tieredimagenet_5shot_v1 with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train tieredimagenet_5shot_v1 "$@"
