#!/usr/bin/env bash
# Omniglot, 20-way 1-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, Omniglot 20-way 1-shot: 96.2 % (largest CNN); with 8 channels: 87.2 %.
# Measured: 500,000 of 4,000,000 steps, one run: val 88.0, test 86.9 ± 0.3 % (95 % CI over 1024
#   tasks), 1.5 hours on one core. 20,000 steps, three seeds: test 76.8, 72.9, 69.5 % (each ± 0.6,
#   95 % CI over 400 tasks); the original, one run: 71.1 %.
# Usage: ./scripts/omniglot_1shot_v1.sh --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs/omniglot_1shot_v1
# Evaluator: ./scripts/evaluate.sh omniglot_1shot_v1 with the same flags.
exec bash "$(dirname "$0")/with_flags_of.sh" train omniglot_1shot_v1 "$@"
