"""The settings of a run: frozen dataclasses whose fields declare the flags.

`Settings` holds all of them. The model's are in model_config.py. flags.py makes them from flag
values, and checks the values.

Letters used throughout the package (those of docs/spec/model.md and docs/spec/continual.md):
  K        classes of one task, or episode ("way")
  Ns, Nq   support images and query images of one task, over all its classes
  H, W, C  height, width and channels of an image
  E        dimension of an embedding of a label or of a weight block
  B, b     weight blocks of a CNN layer, and weights in one block
  F        features of one support image, as the generator of one layer sees them
  D        width of a token
  T        tasks of a sequence
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from hypertransformer.settings.declare import flag
from hypertransformer.settings.model_config import ModelConfig

CONTINUAL_SCENARIOS = ('task_incremental', 'class_incremental', 'mini_batch')
CONTINUAL_METHODS = ('continual_hypertransformer', 'constant_protonet', 'merged_hypertransformer')

_training = functools.partial(flag, affects='training')
_evaluation = functools.partial(flag, affects='evaluation')
_run = functools.partial(flag, affects='run')
_probability = functools.partial(flag, within='[0, 1]')
_sequences = functools.partial(flag, continual=True)


@dataclasses.dataclass(frozen=True)
class EpisodeConfig:
  """How an episode is sampled (docs/spec/data.md, section 3)."""

  num_labels: int = 4
  support_samples: int = flag(
    32, 'Ns: support images per task, over all classes', '[1, 1e6]', name='samples_transformer'
  )
  query_samples: int = _training(
    128, 'Nq: query images per training task, over all classes', '[1, 1e6]', name='samples_cnn'
  )
  balanced: bool = flag(False, 'as many images of each class of a task', name='balanced_batches')
  unlabeled_per_class: int = flag(
    0,
    'support images per class whose label is hidden',
    '[0, inf)',
    name='unlabeled_samples_per_class',
    continual=False,
  )
  disjoint_query: bool = flag(False, 'sample query images that are not in the support set')

  @property
  def shots(self) -> int:
    """The labeled support images per class: on average, and at least 1, if classes differ."""
    return max(1, self.support_samples // self.num_labels - self.unlabeled_per_class)


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which images a run reads."""

  folder: str = _run(
    '', 'directory that holds NAME.npy or NAME/ for each dataset', name='data_numpy_dir', path=True
  )
  tfds_folder: str | None = _run(
    None,
    'directory of tensorflow_datasets, for datasets without a file',
    name='data_dir',
    kind=str,
    path=True,
  )
  train_dataset: str = flag(
    'emnist', 'dataset and classes of the training tasks: NAME or NAME:0-9,20,30-39'
  )
  test_dataset: str = _evaluation(
    'emnist:8-61', 'dataset and classes of the test tasks, written like --train_dataset'
  )
  test_split: str = _evaluation(
    'train', 'split of test and evaluation datasets that tensorflow_datasets provides'
  )
  eval_datasets: str = _evaluation(
    '',
    'classes to evaluate on: PRESET=NAME:0-9,20,... or a known dataset, such as omniglot, for '
    'presets train, val and test; empty: those of training and test',
  )
  shuffle_labels_seed: int = flag(
    0, 'seed of a permutation of the classes of every dataset; 0: no permutation', model=True
  )
  use_labels: int = flag(8, 'number of classes, the first ones, of a dataset without class numbers')
  image_size: int = flag(
    28, 'side of the square images, to which others are resized', '[1, 1e4]', model=True
  )
  # Datasets in memory by name, [classes, samples, H, W, C]; not a flag.
  arrays: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
  """How the images of an episode are augmented (docs/spec/data.md, section 4).

  Each flag but the two for photographs also exists with the prefix test_, see flags.py. An
  augmentation whose probability is 0 has no operations in the graph.
  """

  rotation_probability: float = _probability(
    0.0, 'probability of a rotation by up to --angle_range'
  )
  smooth_probability: float = _probability(0.5, 'probability of smoothing (3 x 3 mean)', field=0.0)
  contrast_probability: float = _probability(0.5, 'probability of a change of contrast', field=0.0)
  resize_probability: float = _probability(0.0, 'probability of shrinking to 70 to 100 %')
  negate_probability: float = _probability(0.0, 'probability of inverting (255 - value)')
  roll_probability: float = _probability(0.0, 'probability of a cyclic shift by up to 30 %')
  angle_range: float = flag(180.0, 'largest rotation in either direction, in degrees', '[0, inf)')
  random_rotate_by_90: bool = flag(False, 'rotate by 0, 90, 180 or 270 degrees')
  per_label: bool = flag(
    False,
    'augment each class of a task differently, which makes new classes',
    name='per_label_augmentation',
  )
  photographic: bool = flag(
    False,
    'augment photographs: flip, hue, brightness, contrast, crop',
    name='apply_image_augmentations',
  )
  photographic_individually: bool = flag(
    False,
    'change the colors of each photograph, not of each set',
    name='augment_images_individually',
  )

  @property
  def needs_floats(self) -> bool:
    """Whether an augmentation that has a probability is on: these need images as floats."""
    return any(
      getattr(self, field.name) > 0.0
      for field in dataclasses.fields(self)
      if field.name.endswith('_probability')
    )


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """What training minimizes (docs/spec/model.md, sections 1 and 5)."""

  label_smoothing: float = _training(0.0, 'share of each target spread over all classes', '[0, 1]')
  l2_weight: float = _training(
    0.0,
    'weight of the regularization sum(kernel^2) of the CNN',
    '[0, inf)',
    name='l2_reg_weight',
    continual=False,
  )
  variation_weight: float = _training(
    0.0,
    'weight of the regularization sum(generated^2) / sum(trained^2)',
    '[0, inf)',
    name='weight_variation_regularization',
    continual=False,
  )
  warmup_steps: int = _training(
    0,
    '> 0: steps over which the loss moves from logits of inner layers to the final ones',
    '[0, 9.2e18)',
    model=True,
    continual=False,
  )
  shared_head_weight: float = _training(
    0.0,
    'weight of the loss that predicts dataset classes from shared features',
    '[0, inf)',
    continual=False,
  )
  pretrain_shared: bool = _training(
    False,
    'train only shared features (see --shared_head_weight)',
    name='pretrain_shared_feature',
    continual=False,
  )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """How gradients change the trained variables (docs/spec/model.md, section 1).

  The learning rate is learning_rate * decay_rate ** (step / decay_steps). In the cooldown, the last
  steps of a run, it also falls linearly to 0.
  """

  name: str = _training(
    'sgd',
    'optimizer; the original has sgd only',
    name='optimizer',
    choices=('sgd', 'momentum', 'adam'),
    model=True,
  )
  learning_rate: float = _training(0.001, 'learning rate at step 0', '(0, inf)')
  decay_steps: float = _training(
    10_000.0,
    'steps per decay of the learning rate, which is smooth',
    '(0, inf)',
    name='learning_rate_decay_steps',
  )
  decay_rate: float = _training(
    1.0,
    'factor of the learning rate per --learning_rate_decay_steps',
    '(0, inf)',
    name='learning_rate_decay_rate',
  )
  cooldown: float = _training(
    0.0,
    'final fraction of the run over which the learning rate also falls linearly to 0',
    '[0, 1)',
    name='learning_rate_cooldown',
  )
  train_steps: int = 10_000
  gradient_norm_clip: float = _training(
    0.0, 'largest norm of the gradient over all variables; 0: any', '[0, inf)'
  )


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """Where a run writes, how long it trains, and where it starts."""

  log_dir: str = _run(
    '/tmp/experiment', 'directory of checkpoints and summaries', name='train_log_dir', path=True
  )
  train_steps: int = _training(
    10_000, 'total number of training steps, also of a resumed run', '[1, 9.2e18)'
  )
  steps_between_saves: int = _run(
    50_000, 'steps between two checkpoints; 0 or less: save at the start and end only'
  )
  init_from: str = _training(
    '',
    'run, checkpoint or packaged model whose weights a new run begins with, at step 0',
    path=True,
  )
  restore_shared_from: str = _training(
    '',
    'checkpoint (path without suffix, or directory) that provides the shared features',
    name='restore_shared_features_from',
    path=True,
  )
  # None: the seed of the resumed run, or a random one.
  seed: int | None = flag(
    None, 'random seed that makes a run reproducible', '[0, 9.2e18)', kind=int
  )
  episodes_per_step: int = _training(
    1, 'tasks per update (meta-batch)', '[1, 1e4]', continual=False
  )
  kernel_threads: int = _run(
    1, 'CPU threads per operation; 0: one per core, often slower', '[0, 1024]'
  )
  image_summaries: bool = _run(True, 'write images and histograms of gradients for TensorBoard')
  sync_replicas: bool = _training(
    False, 'in a cluster: average the gradients of all workers in each update'
  )
  num_gpus: int = _run(
    0, 'GPUs that share the tasks of an update; 0: TensorFlow decides', '[0, 1e3]'
  )
  xla: bool = _run(False, 'compile with XLA, in training and evaluation; meant for GPUs')


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """How checkpoints are evaluated. A preset is a named group of classes."""

  num_episodes: int = _evaluation(
    512,
    'tasks (or sequences of tasks) per checkpoint and preset',
    '[1, 1e7]',
    name='num_task_evals',
  )
  num_batches: int = _evaluation(
    16, 'query batches per evaluation task', '[1, 1e5]', name='num_eval_batches'
  )
  batch_size: int = _evaluation(
    200, 'images per query batch, over all classes', '[1, 1e6]', name='eval_batch_size'
  )
  query_statistics: str = _evaluation(
    'batch',
    'batch-norm statistics for queries: of their batch, as published, or of the support set, so '
    'that an answer depends on no other query image',
    choices=('batch', 'support'),
  )
  per_class: bool = _run(
    False, 'measure the accuracy of each class, and which classes are confused', continual=False
  )
  once: bool = _run(False, 'evaluate the newest checkpoint and exit', name='eval_once')
  checkpoint: str = _run(
    '', 'evaluate only this checkpoint (path without .index)', name='eval_checkpoint', path=True
  )
  timeout_secs: float = _run(
    0.0,
    'exit after so long without a new checkpoint; 0: never',
    '[0, inf)',
    name='eval_timeout_secs',
  )
  xla: bool = False


@dataclasses.dataclass(frozen=True)
class ContinualConfig:
  """How a sequence of tasks is learned (docs/spec/continual.md, sections 1 to 3)."""

  scenario: str = flag(
    'none',
    'learn sequences of tasks; task_incremental: queries are classified among the classes of their '
    'own task; class_incremental: among those of all tasks so far; mini_batch: the tasks are parts '
    'of one support set; none: single tasks',
    name='continual_scenario',
    choices=('none', *CONTINUAL_SCENARIOS),
    model=True,
  )
  method: str = _sequences(
    'continual_hypertransformer',
    'how sequences are learned: the Continual HyperTransformer or a baseline',
    name='continual_method',
    choices=CONTINUAL_METHODS,
    model=True,
  )
  train_length: int = flag(
    3,
    'T: tasks (or parts) of a training sequence',
    '[1, 1e3]',
    name='num_tasks',
    affects='training',
  )
  eval_length: int = flag(
    5,
    'T: tasks (or parts) of an evaluation sequence',
    '[1, 1e3]',
    name='eval_num_tasks',
    affects='evaluation',
  )
  loss: str = _sequences(
    'prototypical',
    'how queries of a sequence are classified; prototypical: by distances to class prototypes; '
    'cross_entropy: by logits of the CNN (mini_batch only)',
    name='continual_loss',
    choices=('prototypical', 'cross_entropy'),
    model=True,
  )
  loss_terms: str = _sequences(
    'all',
    'tasks of a training sequence after which queries are classified',
    name='continual_loss_terms',
    choices=('all', 'last'),
    affects='training',
  )
  mixed_queries: bool = _sequences(
    False, 'query batches with images of all tasks so far (class_incremental only)'
  )

  @property
  def prototypical(self) -> bool:
    """Whether queries are classified by their distances to prototypes instead of by logits."""
    return self.loss == 'prototypical'


@dataclasses.dataclass(frozen=True)
class Settings:
  """All settings of a run, made by flags.settings_from. `continual` is None for single tasks."""

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
  flag_values: Mapping[str, Any]  # all flag values by name, for flags.json and comparisons

  def augmentation_of(self, preset: str) -> AugmentationConfig:
    """Return the augmentation of the evaluator's tasks: that of training for the preset `train`."""
    return self.train_augmentation if preset == 'train' else self.test_augmentation
