"""Draws one episode as the pipeline makes it, before and after its images are augmented."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes import pipeline
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import require
from hypertransformer.settings.config import Settings


@dataclasses.dataclass(frozen=True)
class Images:
  """The images of an episode at one stage, [n, H, W, C], in 0..1."""

  support: np.ndarray
  query: np.ndarray


@dataclasses.dataclass(frozen=True)
class DrawnEpisode:
  """One episode, and what it is of.

  Attributes:
    dataset: the spec of its classes.
    classes: int [K], the number in the dataset of the class of each label.
    support_positions: int [Ns], the class of each support image, 0 to K - 1.
    hidden: bool [Ns], whether the model is not told the class of the support image.
    query_positions: int [Nq], the class of each query image.
    before: the images as they are stored.
    after: the same images as the model sees them.
  """

  dataset: str
  classes: np.ndarray
  support_positions: np.ndarray
  hidden: np.ndarray
  query_positions: np.ndarray
  before: Images
  after: Images


def draw(settings: Settings, split: str, number: int) -> DrawnEpisode:
  """Draws an episode with the settings of a run.

  Args:
    settings: of the run.
    split: 'train' for an episode of training, with its augmentation; 'test' for a test episode.
    number: the number of the episode, 0 or more; with the seed of the run it chooses the images.

  Raises:
    InputError: the dataset cannot be used, or its images have neither 1 nor 3 channels.
  """
  data = settings.data
  train = split == 'train'
  dataset = data.train_dataset if train else data.test_dataset
  folder = DataFolder(data.folder, data.shuffle_labels_seed, data.use_labels, data.tfds_folder)
  classes = folder.open(dataset) if train else folder.open(dataset, data.test_split)
  channels = classes.arrays.image_shape[-1]
  require(channels in (1, 3), f'dataset {dataset!r} has {channels} channels; 1 or 3 can be drawn.')
  sampler = EpisodeSampler(classes, settings.episodes, settings.run.seed or 0, 0)
  augment = settings.train_augmentation if train else settings.test_augmentation
  drawn = sampler.draw(number)
  with tf.Graph().as_default(), tf.Session() as session:
    stream = pipeline.stream(sampler, augment, data.image_size, 'episode')
    episode = stream.next()
    session.run(stream.initializer, {stream.first: number})
    support, query = session.run((episode.support_images, episode.query_images))
  gather = classes.arrays.gather
  return DrawnEpisode(
    dataset,
    drawn.classes,
    drawn.support_positions,
    drawn.support_labels == settings.episodes.num_labels,
    drawn.query_positions,
    Images(gather(drawn.support_rows) / 255, gather(drawn.query_rows) / 255),
    Images(_of_pixels(support), _of_pixels(query)),
  )


def _of_pixels(normalised: np.ndarray) -> np.ndarray:
  """Undoes the normalisation to value / 128 - 1: values in 0..1."""
  return np.clip((normalised + 1) * 128 / 255, 0, 1)
