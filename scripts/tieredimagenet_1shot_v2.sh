#!/usr/bin/env bash
# tieredImageNet, 5-way 1-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, tieredImageNet 5-way 1-shot: 56.3 %.
# Measured: not run yet (see docs/results.md).
# Usage: ./scripts/tieredimagenet_1shot_v2.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/tieredimagenet_1shot_v2 --train_steps=200000
# Evaluator: ./scripts/evaluate.sh tieredimagenet_1shot_v2 with the same flags.
# The published run (v1) with normalized features, so that the transformer sees differences between
# images from the first step, and a learning rate that falls to 0 over the last quarter of
# --train_steps (default 4,000,000): set it to as many steps as you can afford.
exec bash "$(dirname "$0")/with_flags_of.sh" train tieredimagenet_1shot_v2 "$@"
