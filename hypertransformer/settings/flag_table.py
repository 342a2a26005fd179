"""The table of flags: name, type, default, help, closed set.

Names, types, defaults and closed sets of the first 89 are the original's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hypertransformer.settings import config, continual_flags


@dataclasses.dataclass(frozen=True)
class Flag:
  """One flag. kind: int, float, bool, str; choices: its closed set. model: a change of it makes
  another model (or other classes of training and test), so a run cannot be resumed with it.
  """

  name: str
  kind: type
  default: Any
  help: str
  choices: tuple[str, ...] = ()
  model: bool = False


def _group(*flags_in_group: Flag) -> tuple[Flag, ...]:
  return flags_in_group


def _model(
  name: str, kind: type, default: Any, help_text: str, choices: tuple[str, ...] = ()
) -> Flag:
  return Flag(name, kind, default, help_text, choices, model=True)


EPISODE_FLAGS = _group(
  _model('num_labels', int, 4, 'K: classes of an episode ("way")'),
  Flag('samples_transformer', int, 32, 'Ns: support images of an episode, over all classes'),
  Flag('samples_cnn', int, 128, 'Nq: query images of an episode, over all classes'),
  Flag(
    'balanced_batches', bool, False, 'the same number of support (query) images for every class'
  ),
  Flag('unlabeled_samples_per_class', int, 0, 'support images of each class whose label is hidden'),
  Flag(
    'use_labels', int, 8, 'classes of a dataset that is given without labels: the first so many'
  ),
  Flag('num_sample_repeats', int, 1, 'without effect (as in the original)'),
)

DATA_FLAGS = _group(
  Flag('data_numpy_dir', str, '', 'folder with NAME.npy or NAME/ of each dataset'),
  Flag(
    'data_dir',
    str,
    None,
    'folder of tensorflow_datasets, for names not in --data_numpy_dir; empty: its default',
  ),
  Flag('train_dataset', str, 'emnist', 'NAME or NAME:0-9,20,30-39 (class labels)'),
  Flag('test_dataset', str, 'emnist:8-61', 'the same, for the test episodes beside training'),
  Flag(
    'test_split',
    str,
    'train',
    'split of tensorflow_datasets for --test_dataset and --eval_datasets',
  ),
  _model(
    'shuffle_labels_seed', int, 0, '> 0: permute the classes of every dataset with this seed first'
  ),
  _model('image_size', int, 28, 'height and width of images as the CNN sees them, pixels'),
)

AUGMENTATION_FLAGS = _group(
  Flag('rotation_probability', float, 0.0, 'probability of a rotation by up to --angle_range'),
  Flag('boundary_probability', float, 0.0, 'without effect (as in the original)'),
  Flag('smooth_probability', float, 0.5, 'probability of a 3x3 mean filter'),
  Flag('contrast_probability', float, 0.5, 'probability of a change of contrast'),
  Flag('resize_probability', float, 0.0, 'probability of a shrinking to 70..100 %'),
  Flag('negate_probability', float, 0.0, 'probability of a negative'),
  Flag('roll_probability', float, 0.0, 'probability of a cyclic shift by up to 30 %'),
  Flag('angle_range', float, 180.0, 'largest angle of a rotation, degrees'),
  Flag('random_rotate_by_90', bool, False, 'rotate by 0, 90, 180 or 270 degrees'),
  Flag(
    'per_label_augmentation', bool, False, 'one random setting per class instead of one per episode'
  ),
  Flag(
    'apply_image_augmentations', bool, False, 'flip, hue, brightness, contrast and crop in training'
  ),
  Flag('augment_images_individually', bool, False, 'those drawn per image, not per batch'),
  Flag('test_rotation_probability', float, -1.0, 'for the test set; -1: as in training'),
  Flag('test_smooth_probability', float, -1.0, 'for the test set; -1: as in training'),
  Flag('test_contrast_probability', float, -1.0, 'for the test set; -1: as in training'),
  Flag('test_resize_probability', float, -1.0, 'for the test set; -1: as in training'),
  Flag('test_negate_probability', float, -1.0, 'for the test set; -1: as in training'),
  Flag('test_roll_probability', float, -1.0, 'for the test set; -1: as in training'),
  Flag('test_angle_range', float, -1.0, 'for the test set; -1: as in training'),
  Flag('test_random_rotate_by_90', bool, False, 'for the test set'),
  Flag('test_per_label_augmentation', bool, False, 'for the test set'),
)

CNN_FLAGS = _group(
  _model('cnn_model_name', str, '3-layer', 'the CNN: 3-layer, 4-layer or maxpool-4-layer'),
  _model('kernel_size', int, 3, 'kernel size of its convolutions'),
  _model('stride', int, 2, 'stride of its convolutions'),
  _model('default_num_channels', int, 16, 'channels of its convolutions'),
  _model(
    'cnn_activation', str, 'relu', 'activation of its convolutions', choices=('relu', 'lrelu')
  ),
  Flag('cnn_dropout_rate', float, 0.0, 'dropout before the logits, query pass of training only'),
  _model(
    'number_of_trained_cnn_layers',
    int,
    0,
    'n > 0: the first n convolutions are trained variables; n < 0: the last',
  ),
  _model('add_trainable_weights', bool, False, 'weight = generated + trained variable'),
  _model(
    'separate_evaluation_bn_vars',
    bool,
    False,
    'the query pass has trained CNN variables of its own',
  ),
)

GENERATOR_FLAGS = _group(
  _model(
    'layerwise_generator',
    str,
    'joint',
    'joint: one sequence; separate: samples to the encoder, weights to the decoder',
    choices=('joint', 'separate'),
  ),
  _model(
    'lw_weight_allocation',
    str,
    'spatial',
    'what one weight block holds: a kernel position or an output channel',
    choices=('spatial', 'output'),
  ),
  _model(
    'lw_generate_bias', bool, False, 'generate the biases of convolutions (output allocation)'
  ),
  _model(
    'lw_generate_bn', bool, False, 'generate gamma and beta of batch norms (output allocation)'
  ),
  _model('embedding_dim', int, 8, 'E: size of label and weight embeddings'),
  _model('num_layers', int, 4, 'transformer blocks'),
  _model('heads', int, 4, 'attention heads'),
  _model(
    'lw_key_query_dim',
    float,
    1.0,
    'width of queries and keys: a fraction of the token width if <= 3',
  ),
  _model('lw_value_dim', float, 1.0, 'width of values, likewise'),
  _model('lw_inner_dim', float, 1.0, 'inner width of feed-forward layers, likewise; 0: none'),
  _model(
    'transformer_activation', str, 'softmax', 'attention weights', choices=('softmax', 'sigmoid')
  ),
  _model(
    'transformer_nonlinearity',
    str,
    'relu',
    'of feed-forward layers',
    choices=('gelu', 'relu', 'lrelu'),
  ),
  _model(
    'transformer_skip_last_nonlinearity',
    bool,
    False,
    'none in the last encoder block; without effect with a decoder or the separate generator',
  ),
  _model('use_decoder', bool, False, 'encoder and decoder, not the encoder alone'),
  Flag('dropout_rate', float, 0.0, 'dropout of the transformer'),
  Flag('query_key_dim', int, 256, 'without effect (as in the original): see --lw_key_query_dim'),
  Flag('value_dim', int, 256, 'without effect (as in the original): see --lw_value_dim'),
  Flag('internal_dim', int, 512, 'without effect (as in the original): see --lw_inner_dim'),
)

FEATURE_FLAGS = _group(
  _model(
    'shared_feature_extractor',
    str,
    'none',
    'convolutions read off each support image once',
    choices=('none', '2-layer', '3-layer', '4-layer'),
  ),
  _model('shared_features_dim', int, 32, 'its channels'),
  _model(
    'shared_feature_extractor_padding', str, 'valid', 'its padding', choices=('valid', 'same')
  ),
  Flag('shared_fe_dropout', float, 0.0, 'dropout of the shared features'),
  _model(
    'num_layerwise_features',
    str,
    '',
    'channels of the local convolutions of each layer; empty: the larger '
    'of its input and output channels, of a logits layer the input channels; 0: none',
  ),
  _model(
    'lw_use_nonlinear_feature', bool, False, "features of the logits layer from relu'd activations"
  ),
  _model(
    'logits_feature_extractor',
    str,
    'default',
    'features of the logits layer: convolution, flattened activations, or both',
    choices=('default', 'passthrough', 'mix'),
  ),
  Flag('fe_dropout', float, 0.0, 'dropout of the local features'),
  Flag(
    'max_prob_remove_unlabeled',
    float,
    0.0,
    'hide unlabelled support samples with a probability of up to this',
  ),
  Flag(
    'max_prob_remove_labeled',
    float,
    0.0,
    'hide labelled support samples with a probability of up to this',
  ),
)

LOSS_FLAGS = _group(
  Flag('label_smoothing', float, 0.0, 'label smoothing of the cross-entropy'),
  Flag('l2_reg_weight', float, 0.0, 'weight of sum(kernel^2) of the CNN'),
  Flag(
    'weight_variation_regularization',
    float,
    0.0,
    'weight of sum(generated^2) / sum(trained^2), with --add_trainable_weights',
  ),
  _model(
    'warmup_steps',
    int,
    0,
    '> 0: train logits heads on the inner layers first, sliding over so many steps',
  ),
  Flag('shared_head_weight', float, 0.0, 'weight of the real-class loss on the shared features'),
  Flag(
    'pretrain_shared_feature',
    bool,
    False,
    'train the shared feature extractor alone, by the real-class loss',
  ),
  Flag(
    'restore_shared_features_from',
    str,
    '',
    'checkpoint (or its folder) to start the shared features from',
  ),
)

RUN_FLAGS = _group(
  Flag('train_log_dir', str, '/tmp/experiment', 'folder of checkpoints and summaries'),
  Flag('train_steps', int, 10_000, 'updates in all'),
  Flag('steps_between_saves', int, 50_000, 'updates between checkpoints'),
  Flag('learning_rate', float, 0.001, 'learning rate at step 0'),
  Flag(
    'learning_rate_decay_steps', float, 10_000.0, 'steps per factor of --learning_rate_decay_rate'
  ),
  Flag('learning_rate_decay_rate', float, 1.0, 'factor of the learning rate'),
)

EVALUATION_FLAGS = _group(
  Flag(
    'eval_datasets',
    str,
    '',
    'omniglot, strokes, miniimagenet or tieredimagenet (their presets train, '
    'val, test), or PRESET=NAME:0-9,... , comma separated; empty: the train and the test dataset',
  ),
  Flag('num_task_evals', int, 512, 'tasks per checkpoint and preset'),
  Flag('num_eval_batches', int, 16, 'query batches per task'),
  Flag('eval_batch_size', int, 200, 'query images per query batch'),
)

# Not in the original.
OWN_FLAGS = _group(
  Flag('seed', int, None, 'makes a run repeat; without it, runs differ'),
  _model('optimizer', str, 'sgd', 'the update rule', choices=('sgd', 'momentum', 'adam')),
  Flag('disjoint_query', bool, False, 'no query image is a support image of its episode'),
  _model(
    'warmup_heads',
    str,
    'generated',
    'heads of --warmup_steps: generated, or trained as in the original',
    choices=('generated', 'trained'),
  ),
  Flag(
    'episodes_per_step', int, 1, 'episodes whose mean loss one step makes smaller (a meta-batch)'
  ),
  Flag(
    'kernel_threads',
    int,
    1,
    'threads of one operation on a CPU; 0: one per core. Small operations are slower on several',
  ),
  Flag('eval_once', bool, False, 'evaluate the newest checkpoint and exit'),
  Flag('eval_checkpoint', str, '', 'evaluate this checkpoint (its path without .index) and exit'),
  Flag(
    'eval_timeout_secs', float, 0.0, 'exit when there is no new checkpoint for so long; 0: never'
  ),
)

# Not in the original either: the Continual HyperTransformer, and what it needs.
CONTINUAL_FLAGS = _group(
  _model(
    'continual_scenario',
    str,
    'none',
    'none: the HyperTransformer; otherwise sequences of tasks are learned',
    choices=('none', *config.CONTINUAL_SCENARIOS),
  ),
  _model(
    'continual_method',
    str,
    'continual_hypertransformer',
    'what learns them: also two baselines',
    choices=config.CONTINUAL_METHODS,
  ),
  Flag('num_tasks', int, 3, 'tasks of a training sequence (mini_batch: pieces of a support set)'),
  Flag(
    'eval_num_tasks',
    int,
    5,
    'tasks of a sequence in evaluation (merged_hypertransformer: as in training)',
  ),
  _model(
    'continual_loss',
    str,
    'prototypical',
    'by distances to prototypes, or (mini_batch only) from logits',
    choices=config.CONTINUAL_LOSSES,
  ),
  Flag(
    'continual_loss_terms',
    str,
    'all',
    'queries after every task, or after the last only',
    choices=config.CONTINUAL_LOSS_TERMS,
  ),
  Flag(
    'mixed_queries',
    bool,
    False,
    'class_incremental: batches of queries have images of all tasks so far, so that '
    'batch norm tells nothing of the task',
  ),
  _model(
    'embedding_units',
    int,
    0,
    f'outputs of the CNN with prototypes; 0: {continual_flags.DEFAULT_EMBEDDING_UNITS}',
  ),
  _model(
    'generated_weight_scale',
    float,
    1.0,
    'with --add_trainable_weights: weight = trained + this * generated',
  ),
  Flag(
    'gradient_norm_clip',
    float,
    0.0,
    'longest gradient, over all variables; longer ones are scaled down; 0: any',
  ),
)

ORIGINAL_FLAGS = (
  EPISODE_FLAGS
  + DATA_FLAGS
  + AUGMENTATION_FLAGS
  + CNN_FLAGS
  + GENERATOR_FLAGS
  + FEATURE_FLAGS
  + LOSS_FLAGS
  + RUN_FLAGS
  + EVALUATION_FLAGS
)
ALL_FLAGS = ORIGINAL_FLAGS + OWN_FLAGS + CONTINUAL_FLAGS

WITHOUT_EFFECT = (
  'boundary_probability',
  'num_sample_repeats',
  'query_key_dim',
  'value_dim',
  'internal_dim',
)
