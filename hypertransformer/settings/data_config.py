"""Which images a run reads, how episodes are drawn, and how images are changed at random."""

from __future__ import annotations

import dataclasses
import math

from hypertransformer.errors import InputError, require
from hypertransformer.settings.checks import not_negative, positive


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
