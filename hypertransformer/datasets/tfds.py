"""Datasets of tensorflow_datasets, for names that have no file in --data_numpy_dir (spec: data.md
section 1).

The package is an extra (`pip install .[tfds]`), imported only when such a dataset is read. It
downloads what is not yet in its folder. All images go into memory: at most 0.6 GB, twice that while
they are put in order (emnist).
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import logging
from PIL import Image

from hypertransformer.datasets.layouts import FlatImages
from hypertransformer.errors import InputError
from hypertransformer.progress import Progress

DEFAULT_SPLIT = 'train'
INSTALL = 'pip install .[tfds]'
_PACKAGE = 'tensorflow_datasets'
_BATCH = 256
_OMNIGLOT_SIDE = 28
_MAX_REASON = 300

Example = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Source:
  """A dataset there.

  name: in tensorflow_datasets; classes: how many there are; images: the pixels of a batch as we
  keep them, uint8 [n, H, W, C]; key: of a batch and the number of its split (0, 1, ... of
  train+test) to int64 [n], ascending in the order of the classes; split: the one to read whatever
  is asked for, or none.
  """

  name: str
  classes: int
  images: Callable[[np.ndarray], np.ndarray] = lambda images: images
  key: Callable[[Example, int], np.ndarray] = lambda batch, part: batch['label']
  split: str = ''


def _upright(images: np.ndarray) -> np.ndarray:
  """EMNIST's files hold columns as rows."""
  return images.transpose(0, 2, 1, 3)


def _bright_ink(images: np.ndarray) -> np.ndarray:
  """As utils/cache_omniglot.py makes drawings: grey, smaller, and ink bright."""
  size = (_OMNIGLOT_SIDE, _OMNIGLOT_SIDE)
  drawings = [
    Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    for image in np.ascontiguousarray(images[..., 0])
  ]
  return 255 - np.stack([np.asarray(drawing) for drawing in drawings])[..., np.newaxis]


def _order_of_characters(batch: Example, part: int) -> np.ndarray:
  # Not the label: the release numbers its characters in an order of its own, and omniglot.npy is
  # sorted by name.
  return (part << 32) + batch['alphabet'] * 1000 + batch['alphabet_char_id']


SOURCES = {
  # Every character is in one split only, so classes 0-1622 need both, one after the other as in
  # omniglot.npy.
  'omniglot': _Source('omniglot', 1623, _bright_ink, _order_of_characters, 'train+test'),
  'emnist': _Source('emnist/byclass', 62, _upright),
  'fashion_mnist': _Source('fashion_mnist', 10),
  'kmnist': _Source('kmnist', 10),
}


def offers(name: str) -> bool:
  """Whether a dataset can be had here: known, and the package installed."""
  return name in SOURCES and importlib.util.find_spec(_PACKAGE) is not None


def split_of(name: str, split: str) -> str:
  """The split that is read when `split` is asked for: Omniglot's classes need both."""
  return SOURCES[name].split or split


def read(name: str, data_dir: str | None = None, split: str = DEFAULT_SPLIT) -> FlatImages:
  """Reads (at first downloads) a dataset; the order of classes is that of its labels, for omniglot
  of omniglot.npy.

  The order of the images in a class is that in which tensorflow_datasets keeps them: always the
  same.

  Args:
    name: one that `offers` says yes to.
    data_dir: where tensorflow_datasets keeps its data; None for its own default.
    split: one of its splits, see split_of.

  Raises:
    InputError: it cannot be had (why), has no such split, or the split has not all classes.
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
  """The images of all batches, class after class; empties `batches`, so that each is freed once
  copied.
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
  """The examples of a split in an order that never changes; at least one."""
  import tensorflow.compat.v1 as tf  # slow, and only needed here

  try:
    with (
      tf.Graph().as_default()
    ):  # of its own, and without eager execution, whether that is on or off around it
      tfds, builder = _prepared(source.name, data_dir)
      dataset = builder.as_dataset(
        split=split, shuffle_files=False, read_config=tfds.ReadConfig(try_autocache=False)
      )
      progress = Progress(source.name, builder.info.splits[split].num_examples, 'images')
      done = 0
      for batch in tfds.as_numpy(dataset.batch(_BATCH)):
        yield batch
        done += len(batch['image'])
        progress.update(done)
  except InputError:
    raise
  except (
    Exception
  ) as error:  # downloads, archives and checksums fail with exceptions of many packages
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:_MAX_REASON]
    raise InputError(
      f'{_PACKAGE} cannot give {source.name}, split {split!r} ({reason}); correct --data_dir or '
      '--test_split, or the connection from which it downloads, or put the data into '
      '--data_numpy_dir'
    ) from error


def _prepared(name: str, data_dir: str | None) -> tuple[Any, Any]:
  """The package, and the builder of a dataset that is on disk."""
  import tensorflow_datasets as tfds  # an extra

  builder = tfds.builder(name, data_dir=data_dir)
  logging.info('%s is read by %s from %s', name, _PACKAGE, builder.data_path)
  builder.download_and_prepare()
  return tfds, builder
