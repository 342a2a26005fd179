#!/usr/bin/env bash
# tieredImageNet, 5-way 5-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, tieredImageNet 5-way 5-shot: 73.9 %.
# Measured: not run at this length yet on the real data (see docs/results.md).
# Usage: ./scripts/tieredimagenet_5shot_v1.sh --data_numpy_dir=./data_numpy_dir
#   --train_log_dir=./logs [flags]
#   Evaluator beside it: ./scripts/evaluate.sh tieredimagenet_5shot_v1 with the same flags.
# The flags are those of the 1-shot run, but for these; of two equal flags the last counts.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/tieredimagenet_1shot_v1.sh" --samples_transformer=25 "$@"
