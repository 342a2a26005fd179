"""What a run is made of: frozen dataclasses that check themselves. Nothing here knows about flags.

Letters used throughout the package:
  K   classes of an episode ("way"), num_labels
  Ns  support images, Nq  query images
  E   embedding size,  D  token width
  B   weight blocks of a CNN layer,  b  numbers in one block
  F   features of a support sample
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from hypertransformer.errors import InputError, require

CNN_NAMES = ('3-layer', '4-layer', 'maxpool-4-layer')
CONTINUAL_SCENARIOS = ('task_incremental', 'class_incremental', 'mini_batch')
CONTINUAL_METHODS = ('continual_hypertransformer', 'constant_protonet', 'merged_hypertransformer')
CONTINUAL_LOSSES = ('prototypical', 'cross_entropy')
CONTINUAL_LOSS_TERMS = ('all', 'last')
SHARED_EXTRACTORS = (
  'none',
  '2-layer',
  '3-layer',
  '4-layer',
  '2-layer-bn',
  '3-layer-bn',
  '4-layer-bn',
)


def _positive(config: Any, **flags: str) -> None:
  """Fields that must be positive, each with the name of its flag for the message."""
  for field, flag in flags.items():
    value = getattr(config, field)
    require(value > 0, f'{flag} is {value}; it must be positive.')


def _not_negative(config: Any, **flags: str) -> None:
  for field, flag in flags.items():
    value = getattr(config, field)
    require(value >= 0, f'{flag} is {value}; it must not be negative.')


def _fraction(config: Any, **flags: str) -> None:
  """Fields in [0, 1)."""
  for field, flag in flags.items():
    value = getattr(config, field)
    require(0.0 <= value < 1.0, f'{flag} is {value}; it must be at least 0 and below 1.')


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
  require(value in choices, f'{name} is {value!r}; known are {", ".join(choices)}.')


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """Sizes and kinds of the transformer (spec/model.md section 3).

  key_query_dim, value_dim, inner_dim: a fraction of the token width D when <= 3, else the width
  itself. An inner width
  of 0: no feed-forward parts. skip_last_nonlinearity: of an encoder without a decoder behind it;
    otherwise no effect.
  """

  num_layers: int = 4
  heads: int = 4
  key_query_dim: float = 1.0
  value_dim: float = 1.0
  inner_dim: float = 1.0
  activation: str = 'softmax'
  nonlinearity: str = 'relu'
  skip_last_nonlinearity: bool = False
  use_decoder: bool = False
  dropout_rate: float = 0.0

  def __post_init__(self) -> None:
    _positive(
      self,
      num_layers='num_layers',
      heads='heads',
      key_query_dim='lw_key_query_dim',
      value_dim='lw_value_dim',
    )
    _not_negative(self, inner_dim='lw_inner_dim')
    _fraction(self, dropout_rate='dropout_rate')
    _one_of('transformer_activation', self.activation, ('softmax', 'sigmoid'))
    _one_of('transformer_nonlinearity', self.nonlinearity, ('relu', 'gelu', 'lrelu'))


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
  """What is read off a support image (spec/model.md section 4).

  shared_extractor: '-bn' variants (spec/model.md section 4) have no flag, as in the original:
    library use only.
  layerwise: channels of the local convolutions; None = the larger of a convolution's input and
  output channels, the input channels of a logits layer; 0 = none.
  """

  shared_extractor: str = 'none'
  shared_dim: int = 32
  shared_padding: str = 'valid'
  shared_dropout: float = 0.0
  layerwise: int | None = None
  nonlinear: bool = False
  logits_extractor: str = 'default'
  dropout: float = 0.0

  def __post_init__(self) -> None:
    _positive(self, shared_dim='shared_features_dim')
    _fraction(self, shared_dropout='shared_fe_dropout', dropout='fe_dropout')
    _one_of('shared_feature_extractor', self.shared_extractor, SHARED_EXTRACTORS)
    _one_of('shared_feature_extractor_padding', self.shared_padding, ('valid', 'same'))
    _one_of('logits_feature_extractor', self.logits_extractor, ('default', 'passthrough', 'mix'))
    require(
      self.layerwise is None or self.layerwise >= 0,
      f'num_layerwise_features is {self.layerwise}; it must be 0 or more (or empty for the default).',
    )
    require(
      self.has_shared or self.layerwise != 0,
      'num_layerwise_features=0 with shared_feature_extractor=none leaves no features at all: '
      'set one of the two.',
    )

  @property
  def has_shared(self) -> bool:
    return self.shared_extractor != 'none'


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The HyperTransformer and the CNN it generates (spec/model.md sections 2-5).

  embedding_units: outputs of the CNN where they are an embedding (spec/continual.md); 0: they are
    num_labels logits.
  generated_weight_scale: with add_trainable_weights, weight = trained + scale * generated.
  support_classes: classes that the samples of a support set can have; 0: num_labels. More in the
  merged HyperTransformer, which sees the support sets of several tasks at once.
  """

  num_labels: int = 4
  cnn_name: str = '3-layer'
  kernel_size: int = 3
  stride: int = 2
  channels: int = 16
  cnn_activation: str = 'relu'
  trained_layers: int = 0
  allocation: str = 'spatial'
  generate_bias: bool = False
  generate_bn: bool = False
  add_trainable_weights: bool = False
  separate_query_variables: bool = False
  cnn_dropout_rate: float = 0.0
  warmup_heads: str = 'none'
  generator: str = 'joint'
  embedding_dim: int = 8
  max_prob_remove_labeled: float = 0.0
  max_prob_remove_unlabeled: float = 0.0
  embedding_units: int = 0
  generated_weight_scale: float = 1.0
  support_classes: int = 0
  transformer: TransformerConfig = TransformerConfig()
  features: FeatureConfig = FeatureConfig()

  def __post_init__(self) -> None:
    _positive(
      self,
      kernel_size='kernel_size',
      stride='stride',
      channels='default_num_channels',
      embedding_dim='embedding_dim',
      generated_weight_scale='generated_weight_scale',
    )
    _not_negative(self, embedding_units='embedding_units', support_classes='support_classes')
    _fraction(self, cnn_dropout_rate='cnn_dropout_rate')
    for name in ('max_prob_remove_labeled', 'max_prob_remove_unlabeled'):
      require(
        0.0 <= getattr(self, name) <= 1.0, f'{name} is {getattr(self, name)}; it must be in 0..1.'
      )
    require(
      self.num_labels >= 2, f'num_labels is {self.num_labels}; an episode needs at least 2 classes.'
    )
    require(
      self.support_classes == 0 or self.support_classes >= self.num_labels,
      f'support_classes is {self.support_classes}; it must be 0 or at least num_labels={self.num_labels}.',
    )
    _one_of('cnn_model_name', self.cnn_name, CNN_NAMES)
    _one_of('cnn_activation', self.cnn_activation, ('relu', 'lrelu'))
    _one_of('lw_weight_allocation', self.allocation, ('spatial', 'output'))
    _one_of('layerwise_generator', self.generator, ('joint', 'separate'))
    _one_of('warmup_heads', self.warmup_heads, ('none', 'generated', 'trained'))
    self._check_combinations()

  def _check_combinations(self) -> None:
    for name, chosen in (
      ('lw_generate_bias', self.generate_bias),
      ('lw_generate_bn', self.generate_bn),
    ):
      require(
        not (chosen and self.allocation == 'spatial'),
        f'{name} does not go with lw_weight_allocation=spatial (a spatial block holds one kernel '
        'position of all channels, there is no place for it): use lw_weight_allocation=output.',
      )
    require(
      not (self.generator == 'separate' and self.max_prob_remove_unlabeled > 0),
      'max_prob_remove_unlabeled does not go with layerwise_generator=separate (it has no mask): '
      'set it to 0 or use layerwise_generator=joint.',
    )
    require(
      not (self.generator == 'separate' and self.max_prob_remove_labeled > 0),
      'max_prob_remove_labeled does not go with layerwise_generator=separate (it has no mask): '
      'set it to 0 or use layerwise_generator=joint.',
    )
    require(
      self.generated_weight_scale == 1.0 or self.add_trainable_weights,
      f'generated_weight_scale={self.generated_weight_scale} is for generated weights that are added to trained '
      'ones: set --add_trainable_weights.',
    )
    require(
      self.features.logits_extractor == 'default' or self.cnn_name == 'maxpool-4-layer',
      f'logits_feature_extractor={self.features.logits_extractor} has no meaning for '
      f'cnn_model_name={self.cnn_name}, whose logits see the spatial mean: use '
      'cnn_model_name=maxpool-4-layer or logits_feature_extractor=default.',
    )


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """The training loss (spec/model.md sections 1 and 5)."""

  label_smoothing: float = 0.0
  l2_weight: float = 0.0
  variation_weight: float = 0.0
  warmup_steps: int = 0
  shared_head_weight: float = 0.0
  pretrain_shared: bool = False

  def __post_init__(self) -> None:
    _fraction(self, label_smoothing='label_smoothing')
    _not_negative(
      self,
      l2_weight='l2_reg_weight',
      variation_weight='weight_variation_regularization',
      warmup_steps='warmup_steps',
      shared_head_weight='shared_head_weight',
    )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Gradient descent with learning_rate * decay_rate ** (step / decay_steps).

  gradient_norm_clip: all gradients together are scaled down to this length where they are longer;
    0: never.
  """

  name: str = 'sgd'
  learning_rate: float = 1e-3
  decay_steps: float = 1e4
  decay_rate: float = 1.0
  gradient_norm_clip: float = 0.0

  def __post_init__(self) -> None:
    _one_of('optimizer', self.name, ('sgd', 'momentum', 'adam'))
    _positive(
      self,
      learning_rate='learning_rate',
      decay_steps='learning_rate_decay_steps',
      decay_rate='learning_rate_decay_rate',
    )
    _not_negative(self, gradient_norm_clip='gradient_norm_clip')


@dataclasses.dataclass(frozen=True)
class EpisodeConfig:
  """How an episode is drawn (spec/data.md section 3). samples: images in all, not per class."""

  num_labels: int = 4
  support_samples: int = 32
  query_samples: int = 128
  balanced: bool = False
  unlabeled_per_class: int = 0
  disjoint_query: bool = False

  def __post_init__(self) -> None:
    require(
      self.support_samples >= self.num_labels,
      f'samples_transformer is {self.support_samples}, fewer than num_labels={self.num_labels}: '
      'every class of an episode needs at least one support sample.',
    )
    _positive(self, query_samples='samples_cnn')
    _not_negative(self, unlabeled_per_class='unlabeled_samples_per_class')
    require(
      self.unlabeled_per_class == 0 or self.balanced,
      f'unlabeled_samples_per_class={self.unlabeled_per_class} needs --balanced_batches: without it '
      'a class may have no support sample left.',
    )
    per_class = self.support_samples // self.num_labels
    require(
      self.unlabeled_per_class < per_class or self.unlabeled_per_class == 0,
      f'unlabeled_samples_per_class={self.unlabeled_per_class} would hide every label: a class has '
      f'only {per_class} support samples (samples_transformer / num_labels).',
    )


@dataclasses.dataclass(frozen=True)
class ContinualConfig:
  """How a sequence of tasks is learned (docs/spec/continual.md).

  Attributes: scenario: task_incremental, class_incremental or mini_batch. method: the Continual
    HyperTransformer or a baseline. train_length: tasks of a sequence in training (in mini_batch:
    pieces of one support set). eval_length: the same in evaluation. loss: prototypical or
    cross_entropy. loss_terms: 'all' asks queries after every task, 'last' only after the last one.
    mixed_queries: class_incremental only: a batch of queries has images of all tasks so far, not of
    one task.
  """

  scenario: str
  method: str = 'continual_hypertransformer'
  train_length: int = 3
  eval_length: int = 5
  loss: str = 'prototypical'
  loss_terms: str = 'all'
  mixed_queries: bool = False

  def __post_init__(self) -> None:
    _one_of('continual_scenario', self.scenario, CONTINUAL_SCENARIOS)
    _one_of('continual_method', self.method, CONTINUAL_METHODS)
    _one_of('continual_loss', self.loss, CONTINUAL_LOSSES)
    _one_of('continual_loss_terms', self.loss_terms, CONTINUAL_LOSS_TERMS)
    _positive(self, train_length='num_tasks', eval_length='eval_num_tasks')
    require(
      not self.mixed_queries or self.scenario == 'class_incremental',
      f'mixed_queries does not go with continual_scenario={self.scenario}: it is for class_incremental, where '
      'queries do not come with their task.',
    )
    require(
      self.prototypical or self.scenario == 'mini_batch',
      f'continual_loss=cross_entropy does not go with continual_scenario={self.scenario} (classes change from '
      'task to task, the CNN has one output per class of one task): use prototypical, or mini_batch.',
    )
    require(
      self.prototypical or self.method != 'constant_protonet',
      'continual_loss=cross_entropy does not go with continual_method=constant_protonet: without prototypes it '
      'learns nothing from a support set. Use continual_loss=prototypical.',
    )

  @property
  def prototypical(self) -> bool:
    return self.loss == 'prototypical'


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """How checkpoints are evaluated.

  Attributes:
    num_episodes: tasks (with a continual scenario: sequences of tasks) per checkpoint and preset.
    num_batches: query batches per task.
    batch_size: images per query batch.
    once: evaluate the newest checkpoint only.
    checkpoint: evaluate this one only (a path without ending); '' for all that come.
    timeout_secs: seconds without a new checkpoint after which the evaluator ends; 0 waits for ever.
  """

  num_episodes: int = 512
  num_batches: int = 16
  batch_size: int = 200
  once: bool = False
  checkpoint: str = ''
  timeout_secs: float = 0.0

  def __post_init__(self) -> None:
    _positive(
      self,
      num_episodes='num_task_evals',
      num_batches='num_eval_batches',
      batch_size='eval_batch_size',
    )
    require(
      self.timeout_secs >= 0,
      f'eval_timeout_secs is {self.timeout_secs}; it must be 0 (wait for ever) or more.',
    )


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """One run: where it writes, how long it trains, where it starts.

  Attributes: log_dir: the folder of checkpoints and summaries. train_steps: updates in all.
    steps_between_saves: updates between two checkpoints. restore_shared_from: a checkpoint, or its
    folder, from which a new run takes its shared features; '' for none. seed: makes the run repeat;
    None: one is drawn. episodes_per_step: episodes whose mean loss one update makes smaller.
    kernel_threads: threads of one operation on a CPU; 0: one per core.
  """

  log_dir: str
  train_steps: int = 10_000
  steps_between_saves: int = 50_000
  restore_shared_from: str = ''
  seed: int | None = None
  episodes_per_step: int = 1
  kernel_threads: int = 1

  def __post_init__(self) -> None:
    _positive(
      self,
      train_steps='train_steps',
      steps_between_saves='steps_between_saves',
      episodes_per_step='episodes_per_step',
    )
    _not_negative(self, kernel_threads='kernel_threads')
    require(
      bool(self.log_dir), 'train_log_dir is empty; give the folder for checkpoints and summaries.'
    )


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
  """Which augmentations there are, and how often each is on.

  An operation of probability 0 is never built. `angle_range` is in degrees: angles are uniform in
  [-angle_range, angle_range). `random_rotate_by_90` turns by 0 to 3 quarter turns, always.
  `per_label` draws a setting per class instead of per episode (new classes by rotation).
  `photographic` is the flag apply_image_augmentations, `photographic_individually` the flag
  augment_images_individually.

  Raises:
    InputError: a probability outside [0, 1] or an angle range that is negative or not finite.
  """

  rotation_probability: float = 0.0
  smooth_probability: float = 0.0
  contrast_probability: float = 0.0
  resize_probability: float = 0.0
  negate_probability: float = 0.0
  roll_probability: float = 0.0
  angle_range: float = 180.0
  random_rotate_by_90: bool = False
  per_label: bool = False
  photographic: bool = False
  photographic_individually: bool = False

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if field.name.endswith('_probability') and not 0.0 <= value <= 1.0:
        raise InputError(f'{field.name} is {value}; expected a probability from 0 to 1.')
    if not (math.isfinite(self.angle_range) and self.angle_range >= 0.0):
      raise InputError(
        f'angle_range is {self.angle_range}; expected a number of degrees, 0 or larger.'
      )

  @property
  def needs_floats(self) -> bool:
    """Whether an operation is configured that computes new colours (all but turns by 90)."""
    return any(
      getattr(self, field.name) > 0.0
      for field in dataclasses.fields(self)
      if field.name.endswith('_probability')
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which images a run reads.

  Attributes:
    folder: the folder with NAME.npy or NAME/ of each dataset (--data_numpy_dir).
    tfds_folder: the folder of tensorflow_datasets, None for its default.
    train_dataset: 'name' or 'name:0-9,20' of the training episodes.
    test_dataset: the same of the test episodes beside training.
    test_split: the split of tensorflow_datasets for test and evaluation.
    eval_datasets: the evaluator's presets, as in the flag; '' for the two datasets above.
    shuffle_labels_seed: permutes the classes of every dataset; 0 leaves them.
    use_labels: how many classes a dataset that is given without labels has.
    image_size: height and width of images as the CNN sees them, pixels.
  """

  folder: str
  tfds_folder: str | None
  train_dataset: str
  test_dataset: str
  test_split: str
  eval_datasets: str
  shuffle_labels_seed: int
  use_labels: int
  image_size: int


@dataclasses.dataclass(frozen=True)
class Settings:
  """All that a run is made of; made once, by from_flags.settings_from, and handed down in parts.

  Attributes:
    continual: None for the ordinary HyperTransformer.
    flag_values: every flag by name, for flags.json only.
  """

  model: ModelConfig
  loss: LossConfig
  optimizer: OptimizerConfig
  episodes: EpisodeConfig
  train_augmentation: AugmentationConfig
  test_augmentation: AugmentationConfig
  continual: ContinualConfig | None
  data: DataConfig
  run: RunConfig
  evaluation: EvalConfig
  flag_values: Mapping[str, Any]
