"""All flags: their table, the command line, and how their values become the `Settings` of a run.

The first 89 flags are the original's; their names, types, defaults and allowed values are the same
there.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

from absl import flags, logging

from hypertransformer.errors import require
from hypertransformer.settings import config, rules
from hypertransformer.settings.config import (
  AugmentationConfig,
  ContinualConfig,
  DataConfig,
  EpisodeConfig,
  EvalConfig,
  LossConfig,
  OptimizerConfig,
  RunConfig,
  Settings,
)
from hypertransformer.settings.model_config import (
  FEATURE_NORMALIZATIONS,
  FeatureConfig,
  ModelConfig,
  TransformerConfig,
)


@dataclasses.dataclass(frozen=True)
class Flag:
  """One flag of the command line.

  Attributes:
    name: the name, without dashes.
    kind: the type of its value: int, float, bool or str.
    default: the value if the flag is not given.
    help: the text that --help shows.
    choices: the only values that are allowed; () if there is no such list.
    model: whether another value makes another model (or mixes the classes of training and test), so
      that a run cannot be resumed with it.
  """

  name: str
  kind: type
  default: Any
  help: str
  choices: tuple[str, ...] = ()
  model: bool = False


def _model(
  name: str, kind: type, default: Any, help_text: str, choices: tuple[str, ...] = ()
) -> Flag:
  """A flag whose change makes another model."""
  return Flag(name, kind, default, help_text, choices, model=True)


EPISODE_FLAGS = (
  _model('num_labels', int, 4, 'K: classes of one task ("way")'),
  Flag('samples_transformer', int, 32, 'Ns: support images of one task, over all its classes'),
  Flag('samples_cnn', int, 128, 'Nq: query images of one task in training, over all its classes'),
  Flag(
    'balanced_batches',
    bool,
    False,
    'give every class of a task the same number of support images, and of query images',
  ),
  Flag(
    'unlabeled_samples_per_class',
    int,
    0,
    'support images of each class whose label is hidden from the model',
  ),
  Flag(
    'use_labels',
    int,
    8,
    'classes that are used of a dataset whose flag names no classes: the first so many',
  ),
  Flag('num_sample_repeats', int, 1, 'has no effect, as in the original'),
)

DATA_FLAGS = (
  Flag(
    'data_numpy_dir',
    str,
    '',
    'folder that holds the data: the file NAME.npy or the folder NAME/ for each dataset',
  ),
  Flag(
    'data_dir',
    str,
    None,
    'folder of the package tensorflow_datasets, which is asked for datasets that are not in '
    '--data_numpy_dir; empty: the default of that package',
  ),
  Flag(
    'train_dataset',
    str,
    'emnist',
    'dataset of the training tasks, and which of its classes: NAME or NAME:0-9,20,30-39',
  ),
  Flag(
    'test_dataset',
    str,
    'emnist:8-61',
    'dataset and classes of the test tasks beside training, written in the same way',
  ),
  Flag(
    'test_split',
    str,
    'train',
    'split of a dataset of tensorflow_datasets that --test_dataset and --eval_datasets read',
  ),
  _model(
    'shuffle_labels_seed',
    int,
    0,
    'seed of a permutation of the classes of every dataset, made before classes are chosen by '
    'number; 0: no permutation',
  ),
  _model(
    'image_size',
    int,
    28,
    'height and width of the images as the CNN sees them, in pixels; images of another size are '
    'resized',
  ),
)

AUGMENTATION_FLAGS = (
  Flag(
    'rotation_probability',
    float,
    0.0,
    'probability that the images of a task are rotated, by up to --angle_range',
  ),
  Flag('boundary_probability', float, 0.0, 'has no effect, as in the original'),
  Flag(
    'smooth_probability',
    float,
    0.5,
    'probability that the images of a task are smoothed by a mean over 3 x 3 pixels',
  ),
  Flag(
    'contrast_probability',
    float,
    0.5,
    'probability that the contrast of the images of a task is changed',
  ),
  Flag(
    'resize_probability',
    float,
    0.0,
    'probability that the images of a task are shrunk to 70 to 100 % of their size',
  ),
  Flag(
    'negate_probability',
    float,
    0.0,
    'probability that the images of a task become negatives (255 - value)',
  ),
  Flag(
    'roll_probability',
    float,
    0.0,
    'probability that the images of a task are shifted cyclically, by up to 30 % of their size',
  ),
  Flag('angle_range', float, 180.0, 'largest angle of a rotation, to either side, in degrees'),
  Flag(
    'random_rotate_by_90',
    bool,
    False,
    'rotate the images of each task by 0, 90, 180 or 270 degrees',
  ),
  Flag(
    'per_label_augmentation',
    bool,
    False,
    'draw the random changes for each class of a task, not once for the whole task; rotated '
    'characters then make new classes',
  ),
  Flag(
    'apply_image_augmentations',
    bool,
    False,
    'change photographs in training: flip, hue, brightness, contrast and crop',
  ),
  Flag(
    'augment_images_individually',
    bool,
    False,
    'with --apply_image_augmentations: draw these changes for each image, not once for all '
    'support images and once for all query images',
  ),
  Flag(
    'test_rotation_probability',
    float,
    -1.0,
    '--rotation_probability for the images of the test set (test tasks beside training, and '
    'evaluation); -1: as in training',
  ),
  Flag(
    'test_smooth_probability',
    float,
    -1.0,
    '--smooth_probability for the images of the test set (test tasks beside training, and '
    'evaluation); -1: as in training',
  ),
  Flag(
    'test_contrast_probability',
    float,
    -1.0,
    '--contrast_probability for the images of the test set (test tasks beside training, and '
    'evaluation); -1: as in training',
  ),
  Flag(
    'test_resize_probability',
    float,
    -1.0,
    '--resize_probability for the images of the test set (test tasks beside training, and '
    'evaluation); -1: as in training',
  ),
  Flag(
    'test_negate_probability',
    float,
    -1.0,
    '--negate_probability for the images of the test set (test tasks beside training, and '
    'evaluation); -1: as in training',
  ),
  Flag(
    'test_roll_probability',
    float,
    -1.0,
    '--roll_probability for the images of the test set (test tasks beside training, and '
    'evaluation); -1: as in training',
  ),
  Flag(
    'test_angle_range',
    float,
    -1.0,
    '--angle_range for the images of the test set (test tasks beside training, and evaluation); '
    '-1: as in training',
  ),
  Flag(
    'test_random_rotate_by_90',
    bool,
    False,
    '--random_rotate_by_90 for the images of the test set (test tasks beside training, and '
    'evaluation); not taken from training',
  ),
  Flag(
    'test_per_label_augmentation',
    bool,
    False,
    '--per_label_augmentation for the images of the test set (test tasks beside training, and '
    'evaluation); not taken from training',
  ),
)

CNN_FLAGS = (
  _model(
    'cnn_model_name',
    str,
    '3-layer',
    'the CNN that is generated: 3-layer, 4-layer or maxpool-4-layer',
  ),
  _model('kernel_size', int, 3, "side of the kernels of the CNN's convolutions, in pixels"),
  _model('stride', int, 2, "stride of the CNN's convolutions, in pixels"),
  _model('default_num_channels', int, 16, "output channels of each of the CNN's convolutions"),
  _model(
    'cnn_activation',
    str,
    'relu',
    "activation of the CNN's convolutions; lrelu is leaky relu",
    choices=('relu', 'lrelu'),
  ),
  Flag(
    'cnn_dropout_rate',
    float,
    0.0,
    "share of the input of the CNN's logits layer that is dropped, for query images in training "
    'only',
  ),
  _model(
    'number_of_trained_cnn_layers',
    int,
    0,
    'n > 0: the first n convolutions have trained weights and are not generated; n < 0: the '
    'last -n; 0: all are generated',
  ),
  _model(
    'add_trainable_weights',
    bool,
    False,
    'add a trained variable to every generated tensor: weight = trained + generated',
  ),
  _model(
    'separate_evaluation_bn_vars',
    bool,
    False,
    'give the CNN that classifies query images trained variables of its own (such as the scales '
    'and offsets of batch norm), apart from those used for support images',
  ),
)

GENERATOR_FLAGS = (
  _model(
    'layerwise_generator',
    str,
    'joint',
    'transformer that writes the weights of a layer; joint: samples and weights are one '
    'sequence of tokens; separate: samples go to the encoder, weights to the decoder',
    choices=('joint', 'separate'),
  ),
  _model(
    'lw_weight_allocation',
    str,
    'spatial',
    'what one weight block of a convolution holds; spatial: the weights of one kernel position; '
    'output: the kernel of one output channel',
    choices=('spatial', 'output'),
  ),
  _model(
    'lw_generate_bias',
    bool,
    False,
    'generate biases for the convolutions, which have none otherwise; needs '
    '--lw_weight_allocation=output',
  ),
  _model(
    'lw_generate_bn',
    bool,
    False,
    'generate the scales and offsets of the batch norms, which are trained otherwise; needs '
    '--lw_weight_allocation=output',
  ),
  _model(
    'embedding_dim', int, 8, 'E: numbers in the embedding of a label and in that of a weight block'
  ),
  _model(
    'num_layers',
    int,
    4,
    'blocks of the transformer (as many again for its decoder, if there is one)',
  ),
  _model('heads', int, 4, "heads of the transformer's attention"),
  _model(
    'lw_key_query_dim',
    float,
    1.0,
    "width of the attention's queries and keys, all heads together; up to 3: a fraction of the "
    'token width D; above: the width itself',
  ),
  _model('lw_value_dim', float, 1.0, "width of the attention's values, given in the same way"),
  _model(
    'lw_inner_dim',
    float,
    1.0,
    "width of the inner layer of the transformer's feed-forward parts, given in the same way; "
    '0 or less: no feed-forward parts',
  ),
  _model(
    'transformer_activation',
    str,
    'softmax',
    "what turns the attention's logits into attention weights",
    choices=('softmax', 'sigmoid'),
  ),
  _model(
    'transformer_nonlinearity',
    str,
    'relu',
    "nonlinearity of the transformer's feed-forward parts; lrelu is leaky relu",
    choices=('gelu', 'relu', 'lrelu'),
  ),
  _model(
    'transformer_skip_last_nonlinearity',
    bool,
    False,
    'leave the nonlinearity out of the last encoder block; no effect with --use_decoder or '
    '--layerwise_generator=separate',
  ),
  _model('use_decoder', bool, False, 'put a decoder behind the encoder of the joint generator'),
  Flag('dropout_rate', float, 0.0, 'dropout inside the transformer, in training only'),
  Flag('query_key_dim', int, 256, 'has no effect, as in the original; use --lw_key_query_dim'),
  Flag('value_dim', int, 256, 'has no effect, as in the original; use --lw_value_dim'),
  Flag('internal_dim', int, 512, 'has no effect, as in the original; use --lw_inner_dim'),
)

FEATURE_FLAGS = (
  _model(
    'shared_feature_extractor',
    str,
    'none',
    'convolutions that compute features of each support image once, for the generators of all '
    'layers; none: no such features',
    choices=('none', '2-layer', '3-layer', '4-layer'),
  ),
  _model(
    'shared_features_dim',
    int,
    32,
    'channels of --shared_feature_extractor, which is the number of its features',
  ),
  _model(
    'shared_feature_extractor_padding',
    str,
    'valid',
    'padding of the convolutions of --shared_feature_extractor',
    choices=('valid', 'same'),
  ),
  Flag(
    'shared_fe_dropout',
    float,
    0.0,
    'dropout of the features of --shared_feature_extractor, in training only',
  ),
  _model(
    'num_layerwise_features',
    str,
    '',
    "channels of the convolutions that compute a layer's own features of the support images "
    "from the activations that enter the layer; 0: none; empty: the larger of the layer's input "
    'and output channels (logits layer: its input channels)',
  ),
  _model(
    'lw_use_nonlinear_feature',
    bool,
    False,
    'take the features for the logits layer after a relu, not before it',
  ),
  _model(
    'logits_feature_extractor',
    str,
    'default',
    'what the generator of the logits layer sees of the support images; default: features from '
    'a convolution; passthrough: the flattened activations; mix: both; the last two need '
    '--cnn_model_name=maxpool-4-layer',
    choices=('default', 'passthrough', 'mix'),
  ),
  Flag(
    'fe_dropout',
    float,
    0.0,
    "dropout of a layer's own features (--num_layerwise_features), in training only",
  ),
  Flag(
    'max_prob_remove_unlabeled',
    float,
    0.0,
    'largest probability with which a training step hides support images that have no label; '
    'each step draws its own probability below it',
  ),
  Flag('max_prob_remove_labeled', float, 0.0, 'the same for support images that have a label'),
)

LOSS_FLAGS = (
  Flag(
    'label_smoothing',
    float,
    0.0,
    'share of the target of every cross-entropy that is spread evenly over all classes',
  ),
  Flag(
    'l2_reg_weight', float, 0.0, "weight of the regularisation sum(kernel^2) over the CNN's kernels"
  ),
  Flag(
    'weight_variation_regularization',
    float,
    0.0,
    'weight of the regularisation sum(generated^2) / sum(trained^2) of the convolutions; needs '
    '--add_trainable_weights',
  ),
  _model(
    'warmup_steps',
    int,
    0,
    '> 0: give the inner layers logits of their own (warm-up heads), and move the loss from '
    'these to the final logits over so many steps; 0: no warm-up',
  ),
  Flag(
    'shared_head_weight',
    float,
    0.0,
    "weight of a second loss: the shared features predict each support image's class in the "
    'dataset (the real-class head)',
  ),
  Flag(
    'pretrain_shared_feature',
    bool,
    False,
    'train only the shared features and the real-class head; no CNN is generated',
  ),
  Flag(
    'restore_shared_features_from',
    str,
    '',
    'checkpoint (its path without ending, or its folder) whose shared features a new run starts '
    'from',
  ),
)

RUN_FLAGS = (
  Flag(
    'train_log_dir', str, '/tmp/experiment', 'folder of the checkpoints and summaries of the run'
  ),
  Flag('train_steps', int, 10_000, 'updates of the variables in all, also if the run is resumed'),
  Flag(
    'steps_between_saves',
    int,
    50_000,
    'updates between two checkpoints; 0 or less: save at the start and at the end only',
  ),
  Flag('learning_rate', float, 0.001, 'learning rate at step 0'),
  Flag(
    'learning_rate_decay_steps',
    float,
    10_000.0,
    'steps after which the learning rate has been multiplied by --learning_rate_decay_rate '
    'once; it falls smoothly',
  ),
  Flag(
    'learning_rate_decay_rate',
    float,
    1.0,
    'factor of the learning rate per --learning_rate_decay_steps; 1: constant',
  ),
)

EVALUATION_FLAGS = (
  Flag(
    'eval_datasets',
    str,
    '',
    'classes to evaluate on, separated by commas: PRESET=NAME:0-9,20 gives a group of classes a '
    'name; omniglot, strokes, miniimagenet or tieredimagenet alone stands for its presets '
    'train, val and test; empty: --train_dataset and --test_dataset',
  ),
  Flag(
    'num_task_evals',
    int,
    512,
    'tasks (with --continual_scenario: sequences of tasks) on which a checkpoint is evaluated, '
    'for each preset',
  ),
  Flag('num_eval_batches', int, 16, 'query batches of one task in evaluation'),
  Flag('eval_batch_size', int, 200, 'images of one query batch in evaluation, over all classes'),
)

# Not in the original.
OWN_FLAGS = (
  Flag('seed', int, None, 'number that makes a run repeatable; without it, runs differ'),
  _model(
    'optimizer',
    str,
    'sgd',
    'update rule of the trained variables; the original has sgd only',
    choices=('sgd', 'momentum', 'adam'),
  ),
  Flag(
    'learning_rate_cooldown',
    float,
    0.0,
    'part of --train_steps, at the end of the run, over which the learning rate also falls in a '
    'straight line to 0; 0: it does not, as in the original; 0.3: over the last 30 %',
  ),
  Flag(
    'gradient_norm_clip',
    float,
    0.0,
    'largest length (L2 norm) of the gradient over all variables; a longer one is scaled down; '
    '0: no limit',
  ),
  _model(
    'generated_weight_scale',
    float,
    1.0,
    'with --add_trainable_weights: weight = trained + this * generated',
  ),
  _model(
    'feature_normalization',
    str,
    'none',
    'support: give every feature mean 0 and deviation 1 over the support set, so that the '
    'transformer sees differences between images from the start; none: as in the original',
    choices=FEATURE_NORMALIZATIONS,
  ),
  Flag(
    'disjoint_query',
    bool,
    False,
    'draw query images only from those that are not in the support set',
  ),
  _model(
    'warmup_heads',
    str,
    'generated',
    'what the warm-up heads (--warmup_steps) are; generated: like every logits layer; trained: '
    'plain trained layers, as in the original',
    choices=('generated', 'trained'),
  ),
  Flag('episodes_per_step', int, 1, 'tasks whose mean loss one update minimises (a meta-batch)'),
  Flag(
    'kernel_threads',
    int,
    1,
    'CPU threads that share one operation; 0: one per core; small operations are slower on several',
  ),
  Flag(
    'image_summaries',
    bool,
    True,
    'write pictures of test episodes, kernels and attention, and histograms of gradients, for '
    'TensorBoard',
  ),
  Flag(
    'sync_replicas',
    bool,
    False,
    'in a cluster (environment variable TF_CONFIG), make one update of the mean gradient of one '
    'step of every worker; otherwise each worker updates the variables when it is ready',
  ),
  Flag(
    'num_gpus',
    int,
    0,
    'GPUs of this machine that share the --episodes_per_step of each update; 0: TensorFlow places '
    'the whole step, on the first GPU if there is one',
  ),
  Flag(
    'xla',
    bool,
    False,
    'compile clusters of operations with XLA, in training and evaluation; meant for GPUs',
  ),
  Flag('eval_once', bool, False, 'evaluate the newest checkpoint and exit'),
  Flag('eval_checkpoint', str, '', 'evaluate this checkpoint (its path without .index) and exit'),
  Flag(
    'eval_timeout_secs',
    float,
    0.0,
    'exit when no new checkpoint has appeared for so many seconds; 0: wait for ever',
  ),
)

# Not in the original either: the Continual HyperTransformer.
CONTINUAL_FLAGS = (
  _model(
    'continual_scenario',
    str,
    'none',
    'learn sequences of tasks; task_incremental: queries are classified among the classes of '
    'their own task; class_incremental: among those of all tasks so far; mini_batch: the tasks '
    'are pieces of one support set; none: single tasks',
    choices=('none', *config.CONTINUAL_SCENARIOS),
  ),
  _model(
    'continual_method',
    str,
    'continual_hypertransformer',
    'what learns the sequences: the Continual HyperTransformer, or a baseline '
    '(constant_protonet: one trained CNN for all tasks; merged_hypertransformer: sees all '
    'support sets so far at once)',
    choices=config.CONTINUAL_METHODS,
  ),
  Flag(
    'num_tasks', int, 3, 'T in training: tasks of a sequence (mini_batch: pieces of a support set)'
  ),
  Flag(
    'eval_num_tasks',
    int,
    5,
    'T in evaluation: tasks of a sequence; may be larger than --num_tasks '
    '(merged_hypertransformer: also give it in training)',
  ),
  _model(
    'continual_loss',
    str,
    'prototypical',
    'how queries of a sequence are classified; prototypical: by their distances to the '
    'prototypes of the classes; cross_entropy: by logits of the CNN (mini_batch only)',
    choices=config.CONTINUAL_LOSSES,
  ),
  Flag(
    'continual_loss_terms',
    str,
    'all',
    'when queries count in the loss of a training sequence; all: after every task; last: after '
    'the last task only',
    choices=config.CONTINUAL_LOSS_TERMS,
  ),
  Flag(
    'mixed_queries',
    bool,
    False,
    'class_incremental only: give every batch of queries images of all tasks so far, not of one '
    'task, so that the statistics of batch norm do not tell the task',
  ),
  _model(
    'embedding_units',
    int,
    0,
    'U: outputs of the CNN if queries are classified by prototypes; 0: '
    f'{rules.DEFAULT_EMBEDDING_UNITS}',
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

# The largest values of flags that set a size: far above any model that can be trained, so that a
# mistyped one is refused at once.
LARGEST = {
  'num_labels': 10_000,
  'samples_transformer': 1_000_000,
  'samples_cnn': 1_000_000,
  'image_size': 10_000,
  'kernel_size': 1_000,
  'stride': 1_000,
  'default_num_channels': 10_000,
  'embedding_dim': 10_000,
  'num_layers': 1_000,
  'heads': 1_000,
  'lw_key_query_dim': 1e6,
  'lw_value_dim': 1e6,
  'lw_inner_dim': 1e6,
  'shared_features_dim': 10_000,
  'episodes_per_step': 10_000,
  'num_gpus': 1_000,
  'num_task_evals': 10_000_000,
  'num_eval_batches': 100_000,
  'eval_batch_size': 1_000_000,
  'num_tasks': 1_000,
  'eval_num_tasks': 1_000,
  'embedding_units': 100_000,
}

# The flags that are paths.
PATHS = (
  'data_numpy_dir',
  'data_dir',
  'train_log_dir',
  'restore_shared_features_from',
  'eval_checkpoint',
)

Values = Mapping[str, Any]  # the value of every flag by its name, without dashes


def define(flag_values: flags.FlagValues = flags.FLAGS) -> None:
  """Defines every flag of the table, on absl's command line unless another is given."""
  makers = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
  }
  for flag in ALL_FLAGS:
    if flag.choices:
      flags.DEFINE_enum(
        flag.name, flag.default, list(flag.choices), flag.help, flag_values=flag_values
      )
    else:
      makers[flag.kind](flag.name, flag.default, flag.help, flag_values=flag_values)


def defaults() -> dict[str, Any]:
  """Returns the default value of every flag by its name."""
  return {flag.name: flag.default for flag in ALL_FLAGS}


def values(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
  """Returns the value of every flag by its name.

  One warning names all flags that are set although they have no effect.
  """
  result = {flag.name: flag_values[flag.name].value for flag in ALL_FLAGS}
  unchanged = defaults()
  idle = [name for name in WITHOUT_EFFECT if result[name] != unchanged[name]]
  if idle:
    logging.warning(
      'These flags are accepted but have no effect: %s', ', '.join(f'--{name}' for name in idle)
    )
  return result


def settings_from(v: Values) -> Settings:
  """Makes all settings of a run.

  Args:
    v: the value of every flag by its name.

  Raises:
    InputError: a value is out of range, or values do not go together.
  """
  v = _plain(v)
  continual = continual_config(v)
  return Settings(
    model=model_config(v),
    loss=loss_config(v),
    optimizer=optimizer_config(v),
    episodes=episode_config(v),
    train_augmentation=train_augmentation(v),
    test_augmentation=test_augmentation(v),
    continual=continual,
    data=data_config(v),
    run=run_config(v),
    evaluation=eval_config(v),
    flag_values=v,
  )


def _plain(v: Values) -> Values:
  """Returns the values with `~` in paths written out.

  Raises:
    InputError: a number is infinite, NaN, or has more than 63 bits; or a path has a byte 0 in it,
      or is not UTF-8.
  """
  plain = dict(v)
  for flag in ALL_FLAGS:
    value = v[flag.name]
    if flag.kind is float and value is not None:
      require(math.isfinite(value), f'{flag.name} is {value}; it must be a finite number.')
    elif flag.kind is int and value is not None:
      require(abs(value) < 2**63, f'{flag.name} is {value}; it must be a whole number below 2^63.')
    if flag.name in LARGEST:
      largest = LARGEST[flag.name]
      require(value <= largest, f'{flag.name} is {value}; it must be at most {largest:g}.')
    elif flag.name in PATHS and value:
      require('\0' not in value, f'{flag.name} is {value!r}; no path can have a byte 0 in it.')
      require(
        not any('\ud800' <= character <= '\udfff' for character in value),
        f'{flag.name} is {value!r}, which is not UTF-8, as TensorFlow needs it: rename it.',
      )
      plain[flag.name] = os.path.expanduser(value)
  return plain


def model_config(v: Values) -> ModelConfig:
  """Makes the settings of the HyperTransformer and of the CNN that it generates."""
  transformer = TransformerConfig(
    num_layers=v['num_layers'],
    heads=v['heads'],
    key_query_dim=v['lw_key_query_dim'],
    value_dim=v['lw_value_dim'],
    inner_dim=v['lw_inner_dim'],
    activation=v['transformer_activation'],
    nonlinearity=v['transformer_nonlinearity'],
    use_decoder=v['use_decoder'],
    dropout_rate=v['dropout_rate'],
    skip_last_nonlinearity=v['transformer_skip_last_nonlinearity'],
  )
  features = FeatureConfig(
    shared_extractor=v['shared_feature_extractor'],
    shared_dim=v['shared_features_dim'],
    shared_padding=v['shared_feature_extractor_padding'],
    shared_dropout=v['shared_fe_dropout'],
    layerwise=_layerwise(v['num_layerwise_features']),
    nonlinear=v['lw_use_nonlinear_feature'],
    logits_extractor=v['logits_feature_extractor'],
    dropout=v['fe_dropout'],
    normalization=v['feature_normalization'],
  )
  return ModelConfig(
    num_labels=v['num_labels'],
    cnn_name=v['cnn_model_name'],
    kernel_size=v['kernel_size'],
    stride=v['stride'],
    channels=v['default_num_channels'],
    cnn_activation=v['cnn_activation'],
    trained_layers=v['number_of_trained_cnn_layers'],
    allocation=v['lw_weight_allocation'],
    generate_bias=v['lw_generate_bias'],
    generate_bn=v['lw_generate_bn'],
    add_trainable_weights=v['add_trainable_weights'],
    separate_query_variables=v['separate_evaluation_bn_vars'],
    cnn_dropout_rate=v['cnn_dropout_rate'],
    warmup_heads=v['warmup_heads'] if v['warmup_steps'] > 0 else 'none',
    generator=v['layerwise_generator'],
    embedding_dim=v['embedding_dim'],
    max_prob_remove_labeled=v['max_prob_remove_labeled'],
    max_prob_remove_unlabeled=v['max_prob_remove_unlabeled'],
    embedding_units=rules.embedding_units(v),
    generated_weight_scale=v['generated_weight_scale'],
    support_classes=rules.support_classes(v),
    transformer=transformer,
    features=features,
  )


def continual_config(v: Values) -> ContinualConfig | None:
  """Makes the settings of sequences of tasks; None if tasks are learned one by one."""
  rules.check(v, defaults())
  if v['continual_scenario'] == 'none':
    return None
  return ContinualConfig(
    scenario=v['continual_scenario'],
    method=v['continual_method'],
    train_length=v['num_tasks'],
    eval_length=v['eval_num_tasks'],
    loss=v['continual_loss'],
    loss_terms=v['continual_loss_terms'],
    mixed_queries=v['mixed_queries'],
  )


def _layerwise(text: str) -> int | None:
  """Reads --num_layerwise_features: a whole number, or None for '', which means the default."""
  require(
    text == '' or (text.isascii() and text.isdigit() and len(text) <= 5),
    f'num_layerwise_features is {text!r}; it must be empty (default) or a whole number, 0 or more, '
    'below 100,000.',
  )
  return int(text) if text else None


def loss_config(v: Values) -> LossConfig:
  """Makes the settings of the loss, after checking that the model has what the loss needs."""
  for name, wanted in (
    ('pretrain_shared_feature', v['pretrain_shared_feature']),
    ('shared_head_weight', v['shared_head_weight'] > 0),
    ('restore_shared_features_from', bool(v['restore_shared_features_from'])),
  ):
    require(
      not wanted or v['shared_feature_extractor'] != 'none',
      f'{name}={v[name]!r} needs shared features: set --shared_feature_extractor (2-layer .. '
      '4-layer).',
    )
  require(
    v['weight_variation_regularization'] == 0 or v['add_trainable_weights'],
    f'weight_variation_regularization={v["weight_variation_regularization"]} compares generated '
    'with added trained weights: set --add_trainable_weights.',
  )
  return LossConfig(
    label_smoothing=v['label_smoothing'],
    l2_weight=v['l2_reg_weight'],
    variation_weight=v['weight_variation_regularization'],
    warmup_steps=v['warmup_steps'],
    shared_head_weight=v['shared_head_weight'],
    pretrain_shared=v['pretrain_shared_feature'],
  )


def optimizer_config(v: Values) -> OptimizerConfig:
  """Makes the settings of the update rule and of its learning rate."""
  return OptimizerConfig(
    name=v['optimizer'],
    learning_rate=v['learning_rate'],
    decay_steps=v['learning_rate_decay_steps'],
    decay_rate=v['learning_rate_decay_rate'],
    cooldown=v['learning_rate_cooldown'],
    train_steps=v['train_steps'],
    gradient_norm_clip=v['gradient_norm_clip'],
  )


def episode_config(v: Values) -> EpisodeConfig:
  """Makes the settings by which episodes are drawn, for training and for the test set."""
  return EpisodeConfig(
    num_labels=v['num_labels'],
    support_samples=v['samples_transformer'],
    query_samples=v['samples_cnn'],
    balanced=v['balanced_batches'],
    unlabeled_per_class=v['unlabeled_samples_per_class'],
    disjoint_query=v['disjoint_query'],
  )


# Flags of training that the test set has too, with 'test_' before the name; -1 there means "as in
# training".
AUGMENTATIONS = (
  'rotation_probability',
  'smooth_probability',
  'contrast_probability',
  'resize_probability',
  'negate_probability',
  'roll_probability',
  'angle_range',
)


def train_augmentation(v: Values) -> AugmentationConfig:
  """Makes the settings by which the images of training episodes are changed at random."""
  return AugmentationConfig(
    **{name: v[name] for name in AUGMENTATIONS},
    random_rotate_by_90=v['random_rotate_by_90'],
    per_label=v['per_label_augmentation'],
    photographic=v['apply_image_augmentations'],
    photographic_individually=v['augment_images_individually'],
  )


def test_augmentation(v: Values) -> AugmentationConfig:
  """Makes the settings by which images of the test set are changed at random.

  They act on the test episodes beside training and on all tasks of the evaluator.
  """
  chosen = {
    name: v[f'test_{name}'] if v[f'test_{name}'] != -1 else v[name] for name in AUGMENTATIONS
  }
  for name, value in chosen.items():
    require(
      value >= 0 if name == 'angle_range' else 0 <= value <= 1,
      f'test_{name} is {value}; it must be '
      + ('0 or more degrees' if name == 'angle_range' else 'a probability from 0 to 1')
      + ' (-1: as in training).',
    )
  return AugmentationConfig(
    **chosen,
    random_rotate_by_90=v['test_random_rotate_by_90'],
    per_label=v['test_per_label_augmentation'],
  )


def data_config(v: Values) -> DataConfig:
  """Makes the settings that say which images are read."""
  return DataConfig(
    folder=v['data_numpy_dir'],
    tfds_folder=v['data_dir'],
    train_dataset=v['train_dataset'],
    test_dataset=v['test_dataset'],
    test_split=v['test_split'],
    eval_datasets=v['eval_datasets'],
    shuffle_labels_seed=v['shuffle_labels_seed'],
    use_labels=v['use_labels'],
    image_size=v['image_size'],
  )


def run_config(v: Values) -> RunConfig:
  """Makes the settings that say where a run writes, how long it trains, and where it starts."""
  run = RunConfig(
    log_dir=v['train_log_dir'],
    train_steps=v['train_steps'],
    steps_between_saves=v['steps_between_saves'],
    restore_shared_from=v['restore_shared_features_from'],
    seed=v['seed'],
    episodes_per_step=v['episodes_per_step'],
    kernel_threads=v['kernel_threads'],
    image_summaries=v['image_summaries'],
    sync_replicas=v['sync_replicas'],
    num_gpus=v['num_gpus'],
    xla=v['xla'],
  )
  require(
    run.episodes_per_step == 1 or v['continual_scenario'] == 'none',
    f'episodes_per_step={run.episodes_per_step} does not go with --continual_scenario: leave it '
    'at 1.',
  )
  return run


def eval_config(v: Values) -> EvalConfig:
  """Makes the settings of the evaluator."""
  return EvalConfig(
    num_episodes=v['num_task_evals'],
    num_batches=v['num_eval_batches'],
    batch_size=v['eval_batch_size'],
    once=v['eval_once'],
    checkpoint=v['eval_checkpoint'],
    timeout_secs=v['eval_timeout_secs'],
    xla=v['xla'],
  )
