#!/usr/bin/env bash
# miniImageNet, 5-way 1-shot, a CNN of 4 x 16 channels.
# Paper: arXiv 2201.04182, miniImageNet 5-way 1-shot: 55.1 %.
# Measured: not run yet on the real data (see docs/results.md).
# Usage: ./scripts/miniimagenet_1shot_v1.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/miniimagenet_1shot_v1
# Evaluator: ./scripts/evaluate.sh miniimagenet_1shot_v1 with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train miniimagenet_1shot_v1 "$@"
