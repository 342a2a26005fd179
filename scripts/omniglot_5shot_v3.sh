#!/usr/bin/env bash
# Omniglot, 20-way 5-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, Omniglot 20-way 5-shot: 98.8 % (largest CNN); with 8 channels: 94.7 %.
# Measured: see docs/results.md.
# Usage: ./scripts/omniglot_5shot_v3.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/omniglot_5shot_v3 --train_steps=45000
# Evaluator: ./scripts/evaluate.sh omniglot_5shot_v3 with the same flags.
# v2 with what learns fastest (docs/learning.md): Adam, and trained kernels to which the generated
# ones are added.
exec bash "$(dirname "$0")/with_flags_of.sh" train omniglot_5shot_v3 "$@"
