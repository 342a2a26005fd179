#!/usr/bin/env bash
# CIFAR-FS, 5-way 5-shot, a CNN of 4 x 16 channels, 32 x 32 pixels. Not in the paper.
# Measured: see docs/results.md.
# Usage: ./scripts/cifar_fs_5shot.sh --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs/cifar_fs_5shot
# Evaluator: ./scripts/evaluate.sh cifar_fs_5shot with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train cifar_fs_5shot "$@"
