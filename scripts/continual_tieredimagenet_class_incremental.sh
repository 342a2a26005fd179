#!/usr/bin/env bash
# tieredImageNet, sequences of 5-way 1-shot tasks, a CNN of 4 x 8 channels with 32 outputs;
#   class_incremental:
#   queries are classified among the classes of all tasks so far (25 after the fifth).
# Trained on sequences of 3, evaluated on 5. Method: arXiv 2301.04584; these settings are ours, no
#   code was published.
# Measured: nothing on tieredImageNet, which was not at hand; the Omniglot runs are in README, The
#   continual method.
# Usage: ./scripts/continual_tieredimagenet_class_incremental.sh --data_numpy_dir=./data_numpy_dir
#   --train_log_dir=./logs [further flags]
#   The baselines: --continual_method=constant_protonet or merged_hypertransformer, each with its
#   own --train_log_dir.
#   Evaluator beside it: ./scripts/evaluate.sh continual_tieredimagenet_class_incremental with the
#   same flags.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" "${HYPERTRANSFORMER_PROGRAM:-train}" \
  --continual_scenario=class_incremental \
  --num_tasks=3 \
  --eval_num_tasks=5 \
  --embedding_units=32 \
  --generated_weight_scale=0.03 \
  --gradient_norm_clip=10.0 \
  --num_layerwise_features=8 \
  --default_num_channels=8 \
  --samples_transformer=5 \
  --samples_cnn=25 \
  --num_labels=5 \
  --learning_rate=0.01 \
  --learning_rate_decay_steps=100000.0 \
  --learning_rate_decay_rate=0.95 \
  --train_steps=200000 \
  --steps_between_saves=10000 \
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
  --add_trainable_weights=true \
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
  --train_dataset=tieredimagenet:0-350 \
  --test_dataset=tieredimagenet:448-607 \
  --eval_datasets=tieredimagenet \
  --num_task_evals=1024 \
  --num_eval_batches=1 \
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
