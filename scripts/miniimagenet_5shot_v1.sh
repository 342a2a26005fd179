#!/usr/bin/env bash
# miniImageNet, 5-way 5-shot, a CNN of 4 x 16 channels.
# Paper: arXiv 2201.04182, miniImageNet 5-way 5-shot: 68.1 %.
# Measured: not run at this length yet on the real data (see docs/results.md).
# Usage: ./scripts/miniimagenet_5shot_v1.sh --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
#   [flags]
#   Evaluator beside it: ./scripts/evaluate.sh miniimagenet_5shot_v1 with the same flags.
# The flags are those of the 1-shot run, but for these; of two equal flags the last counts.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/miniimagenet_1shot_v1.sh" --samples_transformer=25 "$@"
