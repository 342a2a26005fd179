"""Reads known datasets by the package tensorflow_datasets (docs/spec/data.md, section 1).

This is what is done when --data_numpy_dir has no file of a dataset that the package knows. The
package is an extra (`pip install '.[tfds]'`) and is imported only when such a dataset is read. It
downloads what is not yet in its own folder. All images go into memory. The largest dataset, emnist,
takes 0.6 GB, and twice that while its images are put in order.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import logging
from PIL import Image

from hypertransformer.data.layouts import FlatImages
from hypertransformer.errors import InputError
from hypertransformer.progress import progress, show

DEFAULT_SPLIT = 'train'
INSTALL = "pip install '.[tfds]'"
_PACKAGE = 'tensorflow_datasets'
_BATCH = 256
_OMNIGLOT_SIDE = 28
_MAX_REASON = 300

Example = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Source:
  """How a dataset of this project is read by tensorflow_datasets.

  Attributes:
    name: the name of the dataset in tensorflow_datasets.
    classes: the number of its classes.
    images: turns the images of a batch into the pixels that this project keeps, uint8 [n, H, W, C].
    key: gives each image of a batch a number, int64 [n]. Images of one class have the same number,
      and the classes are put in the ascending order of these numbers. Its second argument is the
      place of the batch's split among those that are read: 0 for train and 1 for test of
      'train+test'.
    split: the split that is read whatever split is asked for; '' to read the one asked for.
  """

  name: str
  classes: int
  images: Callable[[np.ndarray], np.ndarray] = lambda images: images
  key: Callable[[Example, int], np.ndarray] = lambda batch, part: batch['label']
  split: str = ''


def _upright(images: np.ndarray) -> np.ndarray:
  """Swaps rows and columns, because the files of EMNIST hold its images that way round."""
  return images.transpose(0, 2, 1, 3)


def _bright_ink(images: np.ndarray) -> np.ndarray:
  """Makes drawings as utils/cache_omniglot.py does: grey, reduced to 28 x 28, and ink bright."""
  size = (_OMNIGLOT_SIDE, _OMNIGLOT_SIDE)
  drawings = [
    Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    for image in np.ascontiguousarray(images[..., 0])
  ]
  return 255 - np.stack([np.asarray(drawing) for drawing in drawings])[..., np.newaxis]


def _order_of_characters(batch: Example, part: int) -> np.ndarray:
  """Numbers characters in the order of omniglot.npy: by split, alphabet and place in the alphabet.

  The label of the package does not serve, because it follows another order.
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
  """Whether `read` knows a dataset and tensorflow_datasets is installed."""
  return name in SOURCES and importlib.util.find_spec(_PACKAGE) is not None


def split_of(name: str, split: str) -> str:
  """Returns the split that is read when `split` is asked for; omniglot is always read whole."""
  return SOURCES[name].split or split


def read(name: str, data_dir: str | None = None, split: str = DEFAULT_SPLIT) -> FlatImages:
  """Reads a dataset into memory; the first time, tensorflow_datasets downloads it.

  Classes are in the order of their labels there, those of omniglot in the order of omniglot.npy.
  The images of a class keep the order in which tensorflow_datasets holds them, which never changes.

  Args:
    name: the dataset's name, one for which `offers` is true.
    data_dir: the folder in which tensorflow_datasets keeps its data; None for its own default.
    split: the split to read, such as 'train', 'test' or 'train+test'; see `split_of`.

  Returns:
    The images, uint8 [all images, H, W, C], class after class, and the number of images of each
    class, int64 [classes].

  Raises:
    InputError: the dataset cannot be downloaded or read, it has no such split, or the split lacks
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
      f'{_PACKAGE} gives {len(found)} classes of {source.name}, split {split_of(name, split)!r}; '
      f'expected {source.classes}: give --test_split a whole split, or make its data folder again'
    )
  return _sorted(images, classes.ravel()), np.bincount(classes.ravel())


def _sorted(batches: list[np.ndarray], classes: np.ndarray) -> np.ndarray:
  """Copies the images of all batches into one array, class after class.

  The list `batches` is emptied meanwhile, so that each batch is freed as soon as it is copied.

  Args:
    batches: images, uint8 [n, H, W, C] each.
    classes: the class of each image, [all images], over all batches.
  """
  rows = np.empty_like(classes)
  rows[np.argsort(classes, kind='stable')] = np.arange(len(classes))
  flat = np.empty((len(classes), *batches[0].shape[1:]), np.uint8)
  batches.reverse()
  done = 0
  while batches:
    images = batches.pop()
    flat[rows[done : done + len(images)]] = images
    done += len(images)
  return flat


def _batches(source: _Source, data_dir: str | None, split: str) -> Iterator[Example]:
  """Yields the examples of a split in batches, in an order that never changes.

  There is at least one batch.
  """
  import tensorflow.compat.v1 as tf  # slow, and only needed here

  try:
    # In a graph of its own this works alike whether eager execution is on or off outside.
    with tf.Graph().as_default():
      tfds, builder = _prepared(source.name, data_dir)
      dataset = builder.as_dataset(
        split=split, shuffle_files=False, read_config=tfds.ReadConfig(try_autocache=False)
      )
      bar = progress(source.name, builder.info.splits[split].num_examples, 'images')
      done = 0
      for batch in tfds.as_numpy(dataset.batch(_BATCH)):
        yield batch
        done += len(batch['image'])
        show(bar, done)
  except InputError:
    raise
  except Exception as error:  # downloads and archives fail with exceptions of many packages
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:_MAX_REASON]
    raise InputError(
      f'{_PACKAGE} cannot give {source.name}, split {split!r} ({reason}); correct --data_dir or '
      '--test_split, or the connection from which it downloads, or put the data into '
      '--data_numpy_dir'
    ) from error


def _prepared(name: str, data_dir: str | None) -> tuple[Any, Any]:
  """Returns the package tensorflow_datasets and the builder of a dataset, downloaded if need be."""
  import tensorflow_datasets as tfds  # an extra, which may be missing

  builder = tfds.builder(name, data_dir=data_dir)
  logging.info('%s is read by %s from %s', name, _PACKAGE, builder.data_path)
  builder.download_and_prepare()
  return tfds, builder
