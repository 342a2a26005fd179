"""What a run is made of: frozen dataclasses that check themselves when they are made.

`Settings` holds all of them. Those of the model are in model_config.py. How flags become settings
is in flags.py; here only error messages name flags.

Letters used throughout the package (those of docs/spec/model.md and docs/spec/continual.md):
  K        classes of one task, or episode ("way")
  Ns, Nq   support images and query images of one task, over all its classes
  H, W, C  height, width and channels of an image, in pixels and numbers per pixel
  E        numbers in one embedding of a label or of a weight block
  B, b     weight blocks of a CNN layer, and numbers in one block
  F        features of one support image, as the generator of one layer sees them
  D        numbers in one token
  T        tasks of a sequence
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from hypertransformer.errors import InputError, require
from hypertransformer.settings.checks import fraction, not_negative, one_of, positive
from hypertransformer.settings.model_config import ModelConfig

CONTINUAL_SCENARIOS = ('task_incremental', 'class_incremental', 'mini_batch')
CONTINUAL_METHODS = ('continual_hypertransformer', 'constant_protonet', 'merged_hypertransformer')
CONTINUAL_LOSSES = ('prototypical', 'cross_entropy')
CONTINUAL_LOSS_TERMS = ('all', 'last')
MOST_THREADS = 1024  # of one operation; TensorFlow starts as many as it is told to, or crashes


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """What training minimises (docs/spec/model.md, sections 1 and 5).

  Attributes:
    label_smoothing: share of each target that is spread evenly over all classes, 0 to 1.
    l2_weight: weight of the sum of squares of the CNN's kernels.
    variation_weight: weight of sum(generated^2) / sum(trained^2), for tensors of the convolutions
      that are the sum of a generated and a trained part.
    warmup_steps: steps over which the loss moves from the warm-up heads on inner layers to the
      final logits; 0 if there are no heads.
    shared_head_weight: weight of the loss of the real-class head, which predicts from the shared
      features which class of the dataset a support image belongs to.
    pretrain_shared: whether the shared features and that head are trained alone, without a CNN.

  Raises:
    InputError: a field is out of range.
  """

  label_smoothing: float = 0.0
  l2_weight: float = 0.0
  variation_weight: float = 0.0
  warmup_steps: int = 0
  shared_head_weight: float = 0.0
  pretrain_shared: bool = False

  def __post_init__(self) -> None:
    require(
      0.0 <= self.label_smoothing <= 1.0,
      f'label_smoothing is {self.label_smoothing}; it must be in 0..1.',
    )
    not_negative(
      self,
      l2_weight='l2_reg_weight',
      variation_weight='weight_variation_regularization',
      warmup_steps='warmup_steps',
      shared_head_weight='shared_head_weight',
    )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """How gradients change the trained variables (docs/spec/model.md, section 1).

  The learning rate after so many steps is learning_rate * decay_rate ** (step / decay_steps), and
  in the cooldown, the last steps of a run, so much less as steps are left.

  Attributes:
    name: the update rule: 'sgd', 'momentum' or 'adam'.
    learning_rate: the learning rate at step 0.
    decay_steps: steps after which the learning rate has been multiplied by decay_rate once.
    decay_rate: factor of the learning rate; 1 leaves it constant.
    cooldown: part of train_steps that the cooldown has; 0 for none.
    train_steps: updates in all.
    gradient_norm_clip: largest L2 norm of the gradient over all variables; a longer gradient is
      scaled down to it. 0 means that there is no limit.

  Raises:
    InputError: a field is out of range.
  """

  name: str = 'sgd'
  learning_rate: float = 1e-3
  decay_steps: float = 1e4
  decay_rate: float = 1.0
  cooldown: float = 0.0
  train_steps: int = 10_000
  gradient_norm_clip: float = 0.0

  def __post_init__(self) -> None:
    one_of('optimizer', self.name, ('sgd', 'momentum', 'adam'))
    positive(
      self,
      learning_rate='learning_rate',
      decay_steps='learning_rate_decay_steps',
      decay_rate='learning_rate_decay_rate',
    )
    fraction(self, cooldown='learning_rate_cooldown')
    not_negative(self, gradient_norm_clip='gradient_norm_clip')


@dataclasses.dataclass(frozen=True)
class ContinualConfig:
  """How a sequence of tasks is learned (docs/spec/continual.md, sections 1 to 3).

  Attributes:
    scenario: 'task_incremental' (queries are classified among the classes of their own task),
      'class_incremental' (among those of all tasks so far) or 'mini_batch' (the "tasks" are pieces
      of one support set).
    method: the Continual HyperTransformer, or one of the baselines in CONTINUAL_METHODS.
    train_length: T in training, the tasks of a sequence (in mini_batch: pieces of a support set).
    eval_length: T in evaluation.
    loss: 'prototypical' (scores are distances to prototypes) or, in mini_batch only,
      'cross_entropy' (the CNN gives K logits).
    loss_terms: 'all' if queries are asked after every task of a training sequence, 'last' if only
      after the last one.
    mixed_queries: whether a batch of queries has images of all tasks so far and not of one task;
      class_incremental only.

  Raises:
    InputError: a field is out of range, or two do not go together.
  """

  scenario: str
  method: str = 'continual_hypertransformer'
  train_length: int = 3
  eval_length: int = 5
  loss: str = 'prototypical'
  loss_terms: str = 'all'
  mixed_queries: bool = False

  def __post_init__(self) -> None:
    one_of('continual_scenario', self.scenario, CONTINUAL_SCENARIOS)
    one_of('continual_method', self.method, CONTINUAL_METHODS)
    one_of('continual_loss', self.loss, CONTINUAL_LOSSES)
    one_of('continual_loss_terms', self.loss_terms, CONTINUAL_LOSS_TERMS)
    positive(self, train_length='num_tasks', eval_length='eval_num_tasks')
    require(
      not self.mixed_queries or self.scenario == 'class_incremental',
      f'mixed_queries does not go with continual_scenario={self.scenario}: it is for '
      'class_incremental, where queries do not come with their task.',
    )
    require(
      self.prototypical or self.scenario == 'mini_batch',
      f'continual_loss=cross_entropy does not go with continual_scenario={self.scenario} (classes '
      'change from task to task, the CNN has one output per class of one task): use prototypical, '
      'or mini_batch.',
    )
    require(
      self.prototypical or self.method != 'constant_protonet',
      'continual_loss=cross_entropy does not go with continual_method=constant_protonet: without '
      'prototypes it learns nothing from a support set. Use continual_loss=prototypical.',
    )

  @property
  def prototypical(self) -> bool:
    """Whether queries are classified by their distances to prototypes, and not by logits."""
    return self.loss == 'prototypical'


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """How checkpoints are evaluated. A preset is a named group of classes.

  Attributes:
    num_episodes: tasks per checkpoint and preset; with a continual scenario, sequences of tasks.
    num_batches: query batches per task.
    batch_size: images in one query batch, over all classes.
    once: whether only the newest checkpoint is evaluated.
    checkpoint: path, without ending, of the only checkpoint to evaluate; '' for all that appear.
    timeout_secs: seconds without a new checkpoint after which the evaluator ends; 0 waits for ever.
    xla: whether XLA compiles clusters of operations.

  Raises:
    InputError: a field is out of range.
  """

  num_episodes: int = 512
  num_batches: int = 16
  batch_size: int = 200
  once: bool = False
  checkpoint: str = ''
  timeout_secs: float = 0.0
  xla: bool = False

  def __post_init__(self) -> None:
    positive(
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
class EpisodeConfig:
  """How an episode is drawn (docs/spec/data.md, section 3).

  Attributes:
    num_labels: K, the classes of an episode.
    support_samples: Ns, the support images over all classes (not of each class).
    query_samples: Nq, the query images over all classes.
    balanced: whether every class has the same number of images, as far as it divides, in the
      support set and in the query set. The two sets are then drawn independently.
    unlabeled_per_class: support images of each class whose label is hidden.
    disjoint_query: whether no query image may be a support image of its episode.

  Raises:
    InputError: a field is out of range, or two do not go together.
  """

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
    positive(self, query_samples='samples_cnn')
    not_negative(self, unlabeled_per_class='unlabeled_samples_per_class')
    require(
      self.unlabeled_per_class == 0 or self.balanced,
      f'unlabeled_samples_per_class={self.unlabeled_per_class} needs --balanced_batches: without '
      'it a class may have no support sample left.',
    )
    per_class = self.support_samples // self.num_labels
    require(
      self.unlabeled_per_class < per_class or self.unlabeled_per_class == 0,
      f'unlabeled_samples_per_class={self.unlabeled_per_class} would hide every label: a class has '
      f'only {per_class} support samples (samples_transformer / num_labels).',
    )


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
  """How the images of an episode are changed at random (docs/spec/data.md, section 4).

  A change whose probability is 0 has no operations in the graph.

  Attributes:
    rotation_probability: probability of a rotation by a random angle.
    smooth_probability: probability of smoothing by the mean of 3 x 3 pixels.
    contrast_probability: probability of a change of contrast.
    resize_probability: probability of shrinking, with zeros around the smaller image.
    negate_probability: probability of the negative of the image.
    roll_probability: probability of a cyclic shift.
    angle_range: a rotation is by an angle from [-angle_range, angle_range), in degrees.
    random_rotate_by_90: whether images are turned by 0, 1, 2 or 3 quarter turns, each time.
    per_label: whether random settings are drawn for each class of an episode and not once for the
      whole episode; rotated characters then make new classes.
    photographic: whether flip, hue, brightness, contrast and crop are changed as well (the flag
      apply_image_augmentations).
    photographic_individually: whether these are drawn for each image, and not once for the support
      set and once for the query set (the flag augment_images_individually).

  Raises:
    InputError: a probability is outside [0, 1], or the angle range is negative or not finite.
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
    """Whether one of the changes that have a probability is on: these need images as floats."""
    return any(
      getattr(self, field.name) > 0.0
      for field in dataclasses.fields(self)
      if field.name.endswith('_probability')
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which images a run reads.

  Attributes:
    folder: folder that holds NAME.npy or NAME/ for each dataset (--data_numpy_dir).
    tfds_folder: folder of the package tensorflow_datasets; None for its default.
    train_dataset: dataset and classes of the training episodes: 'name' or 'name:0-9,20'.
    test_dataset: the same for the test episodes beside training.
    test_split: split of a dataset of tensorflow_datasets that test and evaluation read.
    eval_datasets: presets of the evaluator, written as in the flag; '' for the two datasets above.
    shuffle_labels_seed: seed of a permutation of the classes of every dataset; 0 leaves them in
      order.
    use_labels: how many classes, the first ones, are taken of a dataset whose name comes without
      class numbers.
    image_size: height and width of the images as the CNN sees them, in pixels.
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
class RunConfig:
  """Where a run writes, how long it trains, and where it starts.

  Attributes:
    log_dir: folder of the checkpoints and summaries.
    train_steps: updates of the variables in all.
    steps_between_saves: updates between two checkpoints; 0 or less: none but at the start and at
      the end.
    restore_shared_from: a checkpoint, or the folder of one, from which a new run takes its shared
      features; '' if they start at random.
    seed: number that makes a run repeatable; None for the seed of the run that goes on, or for one
      drawn at random.
    episodes_per_step: episodes whose mean loss one update minimises.
    kernel_threads: CPU threads that share one operation; 0 for one per core.
    image_summaries: whether pictures, and histograms of gradients, are written for TensorBoard.
    sync_replicas: whether the workers of a cluster make each update together.
    num_gpus: GPUs of this machine that share the episodes of a step; 0 if TensorFlow chooses.
    xla: whether XLA compiles clusters of operations.

  Raises:
    InputError: a field is out of range, two do not go together, or log_dir is empty.
  """

  log_dir: str
  train_steps: int = 10_000
  steps_between_saves: int = 50_000
  restore_shared_from: str = ''
  seed: int | None = None
  episodes_per_step: int = 1
  kernel_threads: int = 1
  image_summaries: bool = True
  sync_replicas: bool = False
  num_gpus: int = 0
  xla: bool = False

  def __post_init__(self) -> None:
    positive(self, train_steps='train_steps', episodes_per_step='episodes_per_step')
    require(
      0 <= self.kernel_threads <= MOST_THREADS,
      f'kernel_threads is {self.kernel_threads}; it must be 0 (one per core) to {MOST_THREADS}.',
    )
    not_negative(self, num_gpus='num_gpus')
    require(
      self.episodes_per_step % max(self.num_gpus, 1) == 0,
      f'episodes_per_step={self.episodes_per_step} cannot be shared by num_gpus={self.num_gpus}: '
      'make it a multiple, so that each GPU has the same number of episodes.',
    )
    require(
      bool(self.log_dir), 'train_log_dir is empty; give the folder for checkpoints and summaries.'
    )


@dataclasses.dataclass(frozen=True)
class Settings:
  """All that a run is made of.

  A program makes it once, by flags.settings_from, and hands its parts down.

  Attributes:
    model: the HyperTransformer and the CNN that it generates.
    loss: what training minimises.
    optimizer: how gradients change the variables.
    episodes: how the episodes of training are drawn, and those of the test set beside it.
    train_augmentation: how the images of training episodes are changed at random.
    test_augmentation: the same for test episodes.
    continual: how sequences of tasks are learned; None if tasks are learned one by one.
    data: which images are read.
    run: where the run writes, how long it trains, and where it starts.
    evaluation: how checkpoints are evaluated.
    flag_values: the value of every flag by its name; only for writing and comparing flags.json.
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

  def augmentation_of(self, preset: str) -> AugmentationConfig:
    """Return the augmentation of the evaluator's tasks: that of training for the preset `train`."""
    return self.train_augmentation if preset == 'train' else self.test_augmentation
