"""What a training graph is made from, and the checks before it is built."""

from __future__ import annotations

import dataclasses

from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes import augmentation, sequences
from hypertransformer.episodes.pipeline import ALONE, Share
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.settings.config import (
  AugmentationConfig,
  ContinualConfig,
  EpisodeConfig,
  LossConfig,
  OptimizerConfig,
  Settings,
)
from hypertransformer.settings.model_config import ModelConfig

TRAIN_STREAM, TEST_STREAM = 0, 1  # the numbers of the episode streams of a seed


@dataclasses.dataclass(frozen=True)
class Setup:
  """What a training graph is made from.

  Attributes:
    model: the settings of the model.
    loss: the settings of the loss.
    optimizer: the settings of the update.
    episodes: how an episode is drawn. With `continual` it is one task of a sequence.
    train_set: the classes of the training episodes.
    test_set: the classes of the test episodes beside training.
    train_augmentation: the augmentation of training episodes.
    test_augmentation: the augmentation of test episodes.
    image_size: height and width of the images as the CNN sees them, in pixels.
    continual: how sequences of tasks are learned; None for independent tasks.
    episodes_per_step: the loss of a step is the mean over so many episodes.
    share: which training episodes these are, if several workers share those of a seed.
    devices: the devices that share the episodes of a step, such as '/gpu:0'; () if TensorFlow
      places the whole step.
  """

  model: ModelConfig
  loss: LossConfig
  optimizer: OptimizerConfig
  episodes: EpisodeConfig
  train_set: ClassSet
  test_set: ClassSet
  train_augmentation: AugmentationConfig
  test_augmentation: AugmentationConfig
  image_size: int
  continual: ContinualConfig | None = None
  episodes_per_step: int = 1
  share: Share = ALONE
  devices: tuple[str, ...] = ()

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images as the CNN sees them.

    Raises:
      InputError: train and test set differ in the number of channels.
    """
    train, test = (data.arrays.image_shape[-1] for data in (self.train_set, self.test_set))
    if train != test:
      raise InputError(
        f'train_dataset {self.train_set.name!r} has {train} channels, test_dataset '
        f'{self.test_set.name!r} has {test}: they must be the same.'
      )
    return self.image_size, self.image_size, train


def setup_from(settings: Settings) -> Setup:
  """Opens the datasets that the settings name.

  Raises:
    InputError: a dataset is missing or does not fit.
  """
  data = settings.data
  folder = DataFolder(data.folder, data.shuffle_labels_seed, data.use_labels, data.tfds_folder)
  return Setup(
    model=settings.model,
    loss=settings.loss,
    optimizer=settings.optimizer,
    episodes=settings.episodes,
    train_set=folder.open(data.train_dataset),
    test_set=folder.open(data.test_dataset, data.test_split),
    train_augmentation=settings.train_augmentation,
    test_augmentation=settings.test_augmentation,
    image_size=data.image_size,
    continual=settings.continual,
    episodes_per_step=settings.run.episodes_per_step,
  )


def check(setup: Setup, seed: int) -> tuple[EpisodeSampler, EpisodeSampler, HyperTransformer]:
  """Checks a setup, and makes of it what the graph is built from. No graph is needed.

  Returns:
    The samplers of training episodes and of test episodes, and the model.

  Raises:
    InputError: data, model and sizes do not go together.
  """
  train, test = (
    _sampler(setup, setup.train_set, seed, TRAIN_STREAM),
    _sampler(setup, setup.test_set, seed, TEST_STREAM),
  )
  augmentation.check(setup.train_augmentation, setup.train_set.arrays.image_shape)
  augmentation.check(setup.test_augmentation, setup.test_set.arrays.image_shape)
  return train, test, HyperTransformer(setup.model, setup.image_shape)


def _sampler(setup: Setup, class_set: ClassSet, seed: int, stream: int) -> EpisodeSampler:
  """A sampler of episodes, each as large as a whole sequence if sequences are learned."""
  episodes = setup.episodes
  if setup.continual is not None:
    sequences.require_classes(class_set, episodes, setup.continual, setup.continual.train_length)
    episodes = sequences.episode_config(episodes, setup.continual, setup.continual.train_length)
  return EpisodeSampler(class_set, episodes, seed, stream)
