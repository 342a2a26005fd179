#!/usr/bin/env bash
# Omniglot, 20-way 5-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, Omniglot 20-way 5-shot: 98.8 % (its largest CNN).
# Measured: not run at this length yet on the real data (see docs/results.md).
# Usage: ./scripts/omniglot_5shot_v1.sh --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
#   [flags]
#   Evaluator beside it: ./scripts/evaluate.sh omniglot_5shot_v1 with the same flags.
# The flags are those of the 1-shot run, but for these; of two equal flags the last counts.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/omniglot_1shot_v1.sh" \
  --samples_transformer=100 --samples_cnn=100 "$@"
