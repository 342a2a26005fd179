"""Known datasets of the package tensorflow_datasets (docs/spec/data.md, section 1).

They are read if --data_numpy_dir does not have them. The package is an extra and is imported only
when such a dataset is read; it downloads what is not yet in its own directory. All images go into
memory. The largest dataset, emnist, takes 0.6 GB, and twice that while its images are sorted.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
from absl import logging
from PIL import Image

from hypertransformer.data import files, layouts
from hypertransformer.errors import InputError
from hypertransformer.progress import progress

DEFAULT_SPLIT = 'train'
INSTALL = "pip install '.[tfds]'"
_PACKAGE = 'tensorflow_datasets'
_BATCH = 256
_OMNIGLOT_SIDE = 28

Example = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Source:
  """A dataset of tensorflow_datasets.

  Attributes:
    name: Its name there.
    classes: The number of its classes.
    images: Converts the images of a batch to those of this project, uint8 [n, H, W, C].
    key: Returns a number for each image of a batch, int64 [n], which is the same for images of one
      class; classes are sorted by it. Its second argument is the index of the batch's split: 0 for
      train and 1 for test of 'train+test'.
    split: The split that is read whatever split is asked for; '' to read the one asked for.
  """

  name: str
  classes: int
  images: Callable[[np.ndarray], np.ndarray] = lambda images: images
  key: Callable[[Example, int], np.ndarray] = lambda batch, part: batch['label']
  split: str = ''


def _upright(images: np.ndarray) -> np.ndarray:
  """Swap rows and columns, because EMNIST stores its images transposed."""
  return images.transpose(0, 2, 1, 3)


def _bright_ink(images: np.ndarray) -> np.ndarray:
  """Convert drawings as `convert omniglot` does: grey, 28 x 28 pixels, and bright ink."""
  size = (_OMNIGLOT_SIDE, _OMNIGLOT_SIDE)
  drawings = [
    Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    for image in np.ascontiguousarray(images[..., 0])
  ]
  return 255 - np.stack([np.asarray(drawing) for drawing in drawings])[..., np.newaxis]


def _order_of_characters(batch: Example, part: int) -> np.ndarray:
  """Number characters in the order of omniglot.npy: by split, alphabet and index in the alphabet.

  The labels of the package have another order.
  """
  return (part << 32) + batch['alphabet'] * 1000 + batch['alphabet_char_id']


SOURCES = {
  # Each character is in only one of the two splits, so the classes 0-1622 need both, one after the
  # other as in omniglot.npy.
  'omniglot': _Source('omniglot', 1623, _bright_ink, _order_of_characters, 'train+test'),
  'emnist': _Source('emnist/byclass', 62, _upright),
  'fashion_mnist': _Source('fashion_mnist', 10),
  'kmnist': _Source('kmnist', 10),
}


def offers(name: str) -> bool:
  """Return whether `read` knows a dataset and tensorflow_datasets is installed."""
  return name in SOURCES and importlib.util.find_spec(_PACKAGE) is not None


def split_of(name: str, split: str) -> str:
  """Return the split that is read when `split` is asked for; omniglot is always read whole."""
  return SOURCES[name].split or split


def read(name: str, data_dir: str | None = None, split: str = DEFAULT_SPLIT) -> layouts.FlatImages:
  """Read a dataset into memory; the first time, tensorflow_datasets downloads it.

  Classes are in the order of their labels there, those of omniglot in the order of omniglot.npy.
  The images of a class keep the order in which tensorflow_datasets holds them, which never changes.

  Args:
    name: The name of the dataset, one for which `offers` is true.
    data_dir: The directory of tensorflow_datasets; None for its default.
    split: The split, such as 'train', 'test' or 'train+test'; see `split_of`.

  Returns:
    The images, uint8 [all images, H, W, C], class after class, and the number of images of each
    class, int64 [classes].

  Raises:
    InputError: The dataset cannot be downloaded or read, it has no such split, or the split lacks
      some of the classes.
  """
  source = SOURCES[name]
  images: list[np.ndarray] = []
  keys: list[np.ndarray] = []
  for number, part in enumerate(split_of(name, split).split('+')):
    for batch in _batches(source, data_dir, part):
      images.append(source.images(batch['image']))
      keys.append(source.key(batch, number))
  found, classes = np.unique(np.concatenate(keys), return_inverse=True)
  if len(found) != source.classes:
    raise InputError(
      f'{source.name} of {_PACKAGE} has {len(found)} classes in split {split_of(name, split)!r}, '
      f'expected {source.classes}: give --test_split a whole split'
    )
  rows = np.empty_like(classes.ravel())
  rows[np.argsort(classes.ravel(), kind='stable')] = np.arange(len(rows))
  return layouts.joined(images, rows), np.bincount(classes.ravel())


def _batches(source: _Source, data_dir: str | None, split: str) -> Iterator[Example]:
  """Yield the examples of a split in batches, at least one, in an order that never changes."""
  import tensorflow.compat.v1 as tf  # slow, and only needed here

  try:
    import tensorflow_datasets as package  # an extra, which may be missing

    # In a graph of its own this works alike whether eager execution is on or off outside.
    with tf.Graph().as_default():
      builder = package.builder(source.name, data_dir=data_dir)
      logging.info('%s reads %s from %s', _PACKAGE, source.name, builder.data_path)
      builder.download_and_prepare()
      dataset = builder.as_dataset(
        split=split, shuffle_files=False, read_config=package.ReadConfig(try_autocache=False)
      )
      with progress(source.name, builder.info.splits[split].num_examples, 'images') as bar:
        for batch in package.as_numpy(dataset.batch(_BATCH)):
          yield batch
          bar.update(len(batch['image']))
  except Exception as error:  # downloads and archives fail with exceptions of many packages
    raise InputError(
      f'{_PACKAGE} cannot provide {source.name}, split {split!r} ({files.reason(error)}); correct '
      '--data_dir or --test_split, check the connection, or put the data into --data_numpy_dir'
    ) from error
