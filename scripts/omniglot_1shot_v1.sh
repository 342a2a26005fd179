#!/usr/bin/env bash
# Omniglot, 20-way 1-shot, a CNN of 4 x 8 channels.
# Paper: arXiv 2201.04182, Omniglot 20-way 1-shot: 96.2 % (largest CNN); with 8 channels: 87.2 %.
# Measured: one run, 500,000 of 4,000,000 steps: val 88.0, test 86.9 % (+- 0.3 over 1024 tasks), 1.5
#   hours of one core. At 20,000 steps, three seeds: test 76.8, 72.9, 69.5 % (+- 0.6 over 400
#   tasks); the original, one run: 71.1 %.
# Usage: ./scripts/omniglot_1shot_v1.sh --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
#   [further flags]
#   Evaluator beside it: ./scripts/evaluate.sh omniglot_1shot_v1 --data_numpy_dir=./data_numpy_dir
#   --train_log_dir=./logs
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" "${HYPERTRANSFORMER_PROGRAM:-train}" \
  --num_layerwise_features=8 \
  --default_num_channels=8 \
  --samples_transformer=20 \
  --samples_cnn=60 \
  --num_labels=20 \
  --learning_rate=0.02 \
  --learning_rate_decay_steps=100000.0 \
  --learning_rate_decay_rate=0.95 \
  --train_steps=4000000 \
  --steps_between_saves=50000 \
  --lw_key_query_dim=1.0 \
  --lw_value_dim=1.0 \
  --lw_inner_dim=1.0 \
  --cnn_model_name=maxpool-4-layer \
  --embedding_dim=32 \
  --num_layers=3 \
  --stride=1 \
  --heads=2 \
  --shared_feature_extractor=4-layer \
  --shared_features_dim=32 \
  --shared_feature_extractor_padding=same \
  --layerwise_generator=joint \
  --lw_use_nonlinear_feature=false \
  --lw_weight_allocation=output \
  --lw_generate_bias=false \
  --lw_generate_bn=false \
  --use_decoder=false \
  --add_trainable_weights=false \
  --image_size=28 \
  --balanced_batches=true \
  --per_label_augmentation=true \
  --rotation_probability=0.0 \
  --boundary_probability=0.0 \
  --smooth_probability=0.0 \
  --contrast_probability=0.0 \
  --resize_probability=0.0 \
  --negate_probability=0.0 \
  --roll_probability=0.0 \
  --angle_range=30.0 \
  --random_rotate_by_90=true \
  --train_dataset=omniglot:0-1149 \
  --test_dataset=omniglot:1200-1622 \
  --eval_datasets=omniglot \
  --num_task_evals=1024 \
  --num_eval_batches=16 \
  --eval_batch_size=100 \
  --shuffle_labels_seed=2022 \
  --test_rotation_probability=0.0 \
  --test_smooth_probability=0.0 \
  --test_contrast_probability=0.0 \
  --test_resize_probability=0.0 \
  --test_negate_probability=0.0 \
  --test_roll_probability=0.0 \
  --test_angle_range=-1.0 \
  "$@"
