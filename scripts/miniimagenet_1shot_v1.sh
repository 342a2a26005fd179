#!/usr/bin/env bash
# miniImageNet, 5-way 1-shot, a CNN of 4 x 16 channels.
# Paper: arXiv 2201.04182, miniImageNet 5-way 1-shot: 55.1 %.
# Measured: not run yet on the real data (see docs/results.md).
# Usage: ./scripts/miniimagenet_1shot_v1.sh --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
#   [further flags]
#   Evaluator beside it: ./scripts/evaluate.sh miniimagenet_1shot_v1
#   --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" "${HYPERTRANSFORMER_PROGRAM:-train}" \
  --num_layerwise_features=16 \
  --default_num_channels=16 \
  --samples_transformer=5 \
  --samples_cnn=100 \
  --num_labels=5 \
  --learning_rate=0.01 \
  --learning_rate_decay_steps=100000.0 \
  --learning_rate_decay_rate=0.95 \
  --train_steps=4000000 \
  --steps_between_saves=50000 \
  --lw_key_query_dim=0.5 \
  --lw_value_dim=0.5 \
  --lw_inner_dim=0.5 \
  --cnn_model_name=maxpool-4-layer \
  --embedding_dim=32 \
  --num_layers=3 \
  --stride=1 \
  --heads=8 \
  --shared_feature_extractor=4-layer \
  --shared_features_dim=16 \
  --shared_feature_extractor_padding=same \
  --layerwise_generator=joint \
  --lw_use_nonlinear_feature=false \
  --lw_weight_allocation=output \
  --lw_generate_bias=false \
  --transformer_nonlinearity=lrelu \
  --cnn_activation=lrelu \
  --separate_evaluation_bn_vars=false \
  --apply_image_augmentations=true \
  --lw_generate_bn=false \
  --use_decoder=false \
  --add_trainable_weights=false \
  --image_size=84 \
  --balanced_batches=true \
  --per_label_augmentation=false \
  --rotation_probability=0.0 \
  --boundary_probability=0.0 \
  --smooth_probability=0.0 \
  --contrast_probability=0.0 \
  --resize_probability=0.0 \
  --negate_probability=0.0 \
  --roll_probability=0.0 \
  --angle_range=30.0 \
  --random_rotate_by_90=false \
  --train_dataset=miniimagenet:0-63 \
  --test_dataset=miniimagenet:80-99 \
  --eval_datasets=miniimagenet \
  --num_task_evals=1024 \
  --num_eval_batches=16 \
  --eval_batch_size=100 \
  --test_rotation_probability=0.0 \
  --test_smooth_probability=0.0 \
  --test_contrast_probability=0.0 \
  --test_resize_probability=0.0 \
  --test_negate_probability=0.0 \
  --test_random_rotate_by_90=false \
  --test_per_label_augmentation=false \
  --test_roll_probability=0.0 \
  --test_angle_range=-1.0 \
  "$@"
