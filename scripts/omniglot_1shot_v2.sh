#!/usr/bin/env bash
# Omniglot, 20-way 1-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, Omniglot 20-way 1-shot: 96.2 % (largest CNN); with 8 channels: 87.2 %.
# Measured: --train_steps=200000: test 87.7 ± 0.3 % (one run, 95 % CI over 1024 tasks), 40 minutes
#   on one core; --train_steps=500000: 88.6 ± 0.2 %. With --default_num_channels=16
#   --num_layerwise_features=16 and 150,000 steps: 93.6 ± 0.2 %.
# Usage: ./scripts/omniglot_1shot_v2.sh --data_numpy_dir=./data_numpy_dir \
#     --train_log_dir=./logs/omniglot_1shot_v2 --train_steps=200000
# Evaluator: ./scripts/evaluate.sh omniglot_1shot_v2 with the same flags.
# The published run (v1) with normalized features, so that the transformer sees differences between
# images from the first step, and a learning rate that falls to 0 over the last quarter of
# --train_steps (default 4,000,000): set it to as many steps as you can afford.
exec bash "$(dirname "$0")/with_flags_of.sh" train omniglot_1shot_v2 "$@"
