#!/usr/bin/env bash
# tieredImageNet, 5-way 1-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, tieredImageNet 5-way 1-shot: 56.3 %.
# Measured: not run yet on the real data (see docs/results.md).
# Usage: ./scripts/tieredimagenet_1shot_v1.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/tieredimagenet_1shot_v1
# Evaluator: ./scripts/evaluate.sh tieredimagenet_1shot_v1 with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train tieredimagenet_1shot_v1 "$@"
