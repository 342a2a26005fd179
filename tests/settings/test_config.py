"""The checks of all configurations: what is refused, with which message, and what is taken."""

from __future__ import annotations

import dataclasses

import pytest

from hypertransformer.errors import InputError
from hypertransformer.settings.config import (
  ContinualConfig,
  EpisodeConfig,
  EvalConfig,
  LossConfig,
  OptimizerConfig,
  RunConfig,
)
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig

# (configuration, fields that it must refuse, how the message begins)
REFUSED = [
  (
    ContinualConfig,
    {'scenario': 'none'},
    "continual_scenario is 'none'; known are task_incremental, class_",
  ),
  (
    ContinualConfig,
    {'scenario': 'mini_batch', 'method': 'x'},
    "continual_method is 'x'; known are continual_hyper",
  ),
  (
    ContinualConfig,
    {'scenario': 'mini_batch', 'loss': 'x'},
    "continual_loss is 'x'; known are prototypical, cross_",
  ),
  (
    ContinualConfig,
    {'scenario': 'mini_batch', 'loss_terms': 'x'},
    "continual_loss_terms is 'x'; known are all, la",
  ),
  (
    ContinualConfig,
    {'scenario': 'task_incremental', 'mixed_queries': True},
    'mixed_queries does not go with continual_scenario=task_incremental: it is for '
    'class_incremental',
  ),
  (
    ContinualConfig,
    {'scenario': 'mini_batch', 'train_length': 0},
    'num_tasks is 0; it must be positive.',
  ),
  (
    ContinualConfig,
    {'scenario': 'mini_batch', 'eval_length': -1},
    'eval_num_tasks is -1; it must be positive.',
  ),
  (
    ContinualConfig,
    {'scenario': 'class_incremental', 'loss': 'cross_entropy'},
    'continual_loss=cross_entropy does not go with continual_scenario=class_incremental',
  ),
  (
    ContinualConfig,
    {'scenario': 'mini_batch', 'loss': 'cross_entropy', 'method': 'constant_protonet'},
    'continual_loss=cross_entropy does not go with continual_method=constant_protonet',
  ),
  (ModelConfig, {'embedding_units': -1}, 'embedding_units is -1; it must not be negative.'),
  (
    ModelConfig,
    {'generated_weight_scale': 0.0},
    'generated_weight_scale is 0.0; it must be positive.',
  ),
  (
    ModelConfig,
    {'generated_weight_scale': 0.5},
    'generated_weight_scale=0.5 is for generated weights that are added to trained ones: set '
    '--add_trainable_weights',
  ),
  (
    OptimizerConfig,
    {'gradient_norm_clip': -1.0},
    'gradient_norm_clip is -1.0; it must not be negative.',
  ),
  (TransformerConfig, {'num_layers': 0}, 'num_layers is 0; it must be positive.'),
  (TransformerConfig, {'heads': -1}, 'heads is -1; it must be positive.'),
  (TransformerConfig, {'key_query_dim': 0.0}, 'lw_key_query_dim is 0.0; it must be positive.'),
  (TransformerConfig, {'value_dim': 0.0}, 'lw_value_dim is 0.0; it must be positive.'),
  (
    TransformerConfig,
    {'dropout_rate': 1.0},
    'dropout_rate is 1.0; it must be at least 0 and below 1.',
  ),
  (
    TransformerConfig,
    {'dropout_rate': -0.1},
    'dropout_rate is -0.1; it must be at least 0 and below 1.',
  ),
  (
    TransformerConfig,
    {'activation': 'relu'},
    "transformer_activation is 'relu'; known are softmax, sigmoid.",
  ),
  (
    TransformerConfig,
    {'nonlinearity': 'tanh'},
    "transformer_nonlinearity is 'tanh'; known are relu, gelu, lrelu.",
  ),
  (FeatureConfig, {'shared_dim': 0}, 'shared_features_dim is 0; it must be positive.'),
  (
    FeatureConfig,
    {'shared_dropout': 1.5},
    'shared_fe_dropout is 1.5; it must be at least 0 and below 1.',
  ),
  (FeatureConfig, {'dropout': 1.0}, 'fe_dropout is 1.0; it must be at least 0 and below 1.'),
  (
    FeatureConfig,
    {'shared_extractor': '5-layer'},
    "shared_feature_extractor is '5-layer'; known are none, 2-layer",
  ),
  (
    FeatureConfig,
    {'shared_padding': 'full'},
    "shared_feature_extractor_padding is 'full'; known are valid, same.",
  ),
  (
    FeatureConfig,
    {'logits_extractor': 'all'},
    "logits_feature_extractor is 'all'; known are default, passthrough",
  ),
  (FeatureConfig, {'layerwise': -1}, 'num_layerwise_features is -1; it must be 0 or more'),
  (
    FeatureConfig,
    {'layerwise': 0},
    'num_layerwise_features=0 with shared_feature_extractor=none leaves no features',
  ),
  (ModelConfig, {'kernel_size': 0}, 'kernel_size is 0; it must be positive.'),
  (ModelConfig, {'stride': 0}, 'stride is 0; it must be positive.'),
  (ModelConfig, {'channels': 0}, 'default_num_channels is 0; it must be positive.'),
  (ModelConfig, {'embedding_dim': 0}, 'embedding_dim is 0; it must be positive.'),
  (
    ModelConfig,
    {'cnn_dropout_rate': 1.0},
    'cnn_dropout_rate is 1.0; it must be at least 0 and below 1.',
  ),
  (
    ModelConfig,
    {'max_prob_remove_labeled': 1.1},
    'max_prob_remove_labeled is 1.1; it must be in 0..1.',
  ),
  (
    ModelConfig,
    {'max_prob_remove_unlabeled': -0.1},
    'max_prob_remove_unlabeled is -0.1; it must be in 0..1.',
  ),
  (ModelConfig, {'num_labels': 1}, 'num_labels is 1; an episode needs at least 2 classes.'),
  (
    ModelConfig,
    {'cnn_name': '5-layer'},
    "cnn_model_name is '5-layer'; known are 3-layer, 4-layer, maxpool-4-layer.",
  ),
  (ModelConfig, {'cnn_activation': 'gelu'}, "cnn_activation is 'gelu'; known are relu, lrelu."),
  (
    ModelConfig,
    {'allocation': 'input'},
    "lw_weight_allocation is 'input'; known are spatial, output.",
  ),
  (ModelConfig, {'generator': 'both'}, "layerwise_generator is 'both'; known are joint, separate."),
  (
    ModelConfig,
    {'warmup_heads': 'all'},
    "warmup_heads is 'all'; known are none, generated, trained.",
  ),
  (
    ModelConfig,
    {'generate_bias': True},
    'lw_generate_bias does not go with lw_weight_allocation=spatial',
  ),
  (
    ModelConfig,
    {'generate_bn': True},
    'lw_generate_bn does not go with lw_weight_allocation=spatial',
  ),
  (
    ModelConfig,
    {'generator': 'separate', 'max_prob_remove_unlabeled': 0.1},
    'max_prob_remove_unlabeled does not go with layerwise_generator=separate (it has no mask)',
  ),
  (
    ModelConfig,
    {'generator': 'separate', 'max_prob_remove_labeled': 0.1},
    'max_prob_remove_labeled does not go with layerwise_generator=separate (it has no mask)',
  ),
  (
    ModelConfig,
    {'features': FeatureConfig(logits_extractor='passthrough'), 'cnn_name': '4-layer'},
    'logits_feature_extractor=passthrough has no meaning for cnn_model_name=4-layer, whose logits '
    'see the spatial ',
  ),
  (LossConfig, {'label_smoothing': 1.1}, 'label_smoothing is 1.1; it must be in 0..1.'),
  (LossConfig, {'l2_weight': -1.0}, 'l2_reg_weight is -1.0; it must not be negative.'),
  (
    LossConfig,
    {'variation_weight': -1.0},
    'weight_variation_regularization is -1.0; it must not be negative.',
  ),
  (LossConfig, {'warmup_steps': -1}, 'warmup_steps is -1; it must not be negative.'),
  (
    LossConfig,
    {'shared_head_weight': -1.0},
    'shared_head_weight is -1.0; it must not be negative.',
  ),
  (OptimizerConfig, {'name': 'lbfgs'}, "optimizer is 'lbfgs'; known are sgd, momentum, adam."),
  (OptimizerConfig, {'learning_rate': 0.0}, 'learning_rate is 0.0; it must be positive.'),
  (OptimizerConfig, {'decay_steps': 0.0}, 'learning_rate_decay_steps is 0.0; it must be positive.'),
  (
    OptimizerConfig,
    {'cooldown': 1.0},
    'learning_rate_cooldown is 1.0; it must be at least 0 and below 1.',
  ),
  (OptimizerConfig, {'decay_rate': 0.0}, 'learning_rate_decay_rate is 0.0; it must be positive.'),
  (
    EpisodeConfig,
    {'num_labels': 5, 'support_samples': 4},
    'samples_transformer is 4, fewer than num_labels=5: every class of an episode needs at least '
    'one support sample.',
  ),
  (EpisodeConfig, {'query_samples': 0}, 'samples_cnn is 0; it must be positive.'),
  (
    EpisodeConfig,
    {'unlabeled_per_class': -1, 'balanced': True},
    'unlabeled_samples_per_class is -1; it must not be',
  ),
  (
    EpisodeConfig,
    {'unlabeled_per_class': 1},
    'unlabeled_samples_per_class=1 needs --balanced_batches',
  ),
  (
    EpisodeConfig,
    {'unlabeled_per_class': 2, 'balanced': True, 'support_samples': 11},
    'unlabeled_samples_per_class=2 would hide every label: a class has only 2 support samples',
  ),
  (EvalConfig, {'num_episodes': 0}, 'num_task_evals is 0; it must be positive.'),
  (EvalConfig, {'num_batches': 0}, 'num_eval_batches is 0; it must be positive.'),
  (EvalConfig, {'batch_size': 0}, 'eval_batch_size is 0; it must be positive.'),
  (
    EvalConfig,
    {'timeout_secs': -1.0},
    'eval_timeout_secs is -1.0; it must be 0 (wait for ever) or more.',
  ),
  (RunConfig, {'log_dir': 'x', 'train_steps': 0}, 'train_steps is 0; it must be positive.'),
  (
    RunConfig,
    {'log_dir': ''},
    'train_log_dir is empty; give the folder for checkpoints and summaries.',
  ),
]


@pytest.mark.parametrize(('make', 'settings', 'message'), REFUSED)
def test_a_bad_field_is_refused_with_a_message(make, settings, message):
  with pytest.raises(InputError) as caught:
    make(**settings)
  assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
  ('make', 'settings'),
  [
    (ModelConfig, {'allocation': 'output', 'generate_bias': True, 'generate_bn': True}),
    (ModelConfig, {'generator': 'separate'}),
    (ModelConfig, {'max_prob_remove_labeled': 1.0, 'max_prob_remove_unlabeled': 1.0}),
    (
      ModelConfig,
      {'cnn_name': 'maxpool-4-layer', 'features': FeatureConfig(logits_extractor='mix')},
    ),
    (ModelConfig, {'num_labels': 2}),
    (FeatureConfig, {'layerwise': 0, 'shared_extractor': '4-layer-bn'}),
    (EpisodeConfig, {'num_labels': 5, 'support_samples': 5}),
    (EpisodeConfig, {'balanced': True, 'unlabeled_per_class': 7}),  # of 8
    (LossConfig, {'label_smoothing': 0.0}),
    (LossConfig, {'label_smoothing': 1.0}),
    (TransformerConfig, {'inner_dim': -1.0}),
    (RunConfig, {'steps_between_saves': -1, 'log_dir': 'x'}),
  ],
)
def test_values_just_inside_the_limits_are_taken_and_frozen(make, settings):
  config = make(**settings)
  with pytest.raises(dataclasses.FrozenInstanceError):
    setattr(config, next(iter(settings)), None)


@pytest.mark.parametrize(
  ('extractor', 'shared'), [('none', False), ('2-layer', True), ('3-layer-bn', True)]
)
def test_there_are_shared_features_unless_the_extractor_is_none(extractor, shared):
  assert FeatureConfig(shared_extractor=extractor).has_shared == shared
