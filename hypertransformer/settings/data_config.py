"""Which images a run reads, how episodes are drawn from them, and how images are changed at random."""

from __future__ import annotations

import dataclasses
import math

from hypertransformer.errors import InputError, require
from hypertransformer.settings.checks import not_negative, positive


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
    positive(self, query_samples='samples_cnn')
    not_negative(self, unlabeled_per_class='unlabeled_samples_per_class')
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
