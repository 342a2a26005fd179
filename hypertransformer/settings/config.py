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
from collections.abc import Mapping
from typing import Any

from hypertransformer.errors import require
from hypertransformer.settings.checks import fraction, not_negative, one_of, positive
from hypertransformer.settings.data_config import AugmentationConfig, DataConfig, EpisodeConfig
from hypertransformer.settings.model_config import ModelConfig

CONTINUAL_SCENARIOS = ('task_incremental', 'class_incremental', 'mini_batch')
CONTINUAL_METHODS = ('continual_hypertransformer', 'constant_protonet', 'merged_hypertransformer')
CONTINUAL_LOSSES = ('prototypical', 'cross_entropy')
CONTINUAL_LOSS_TERMS = ('all', 'last')


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
    fraction(self, label_smoothing='label_smoothing')
    not_negative(
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
    one_of('optimizer', self.name, ('sgd', 'momentum', 'adam'))
    positive(
      self,
      learning_rate='learning_rate',
      decay_steps='learning_rate_decay_steps',
      decay_rate='learning_rate_decay_rate',
    )
    not_negative(self, gradient_norm_clip='gradient_norm_clip')


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
    one_of('continual_scenario', self.scenario, CONTINUAL_SCENARIOS)
    one_of('continual_method', self.method, CONTINUAL_METHODS)
    one_of('continual_loss', self.loss, CONTINUAL_LOSSES)
    one_of('continual_loss_terms', self.loss_terms, CONTINUAL_LOSS_TERMS)
    positive(self, train_length='num_tasks', eval_length='eval_num_tasks')
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
    positive(
      self,
      train_steps='train_steps',
      steps_between_saves='steps_between_saves',
      episodes_per_step='episodes_per_step',
    )
    not_negative(self, kernel_threads='kernel_threads')
    require(
      bool(self.log_dir), 'train_log_dir is empty; give the folder for checkpoints and summaries.'
    )


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
