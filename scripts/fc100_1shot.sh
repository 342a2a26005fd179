#!/usr/bin/env bash
# FC100, 5-way 1-shot, a CNN of 4 x 16 channels, 32 x 32 pixels. Not in the paper.
# Measured: see docs/results.md.
# Usage: ./scripts/fc100_1shot.sh --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs/fc100_1shot
# Evaluator: ./scripts/evaluate.sh fc100_1shot with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train fc100_1shot "$@"
