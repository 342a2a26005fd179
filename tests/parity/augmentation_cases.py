"""Compares the augmentation of images with numbers recorded from the original.

They are in files in the format of tests/golden/augment_gray28.npz (all of them: augment.npz in
../shared/golden). A file holds inputs in/..., and outputs out/... of the original's operations. Its
entry `index`, a JSON text, says for every output which operation made it, from which input and with
which settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation, image_ops, photographic
from hypertransformer.settings import config
from tests.parity.tolerances import Comparison, largest_difference

Arrays = dict[str, np.ndarray]
Params = dict[str, Any]

# Allowed differences: of images that are only rearranged, of float images in 0..255, of normalised
# images in -1..1, and of uint8 images.
_EXACT, _COLOUR, _NORMALISED, _LEVEL = 0.0, 1e-3, 1e-5, 1.0
# The random variables of the original, with the values that they have where none is recorded.
_VARIABLES = {
  **dict.fromkeys(('rotate', 'roll', 'resize', 'contrast', 'smooth', 'negate'), False),
  **dict.fromkeys(('angle', 'roll_x', 'roll_y', 'size', 'alpha', 'rotate_90_times'), 0.0),
}


def check_augment(arrays: Arrays) -> list[Comparison]:
  """Compute every output of a file of recorded augmentations again and compare it.

  Args:
    arrays: the arrays of the file by key.
  """
  index = json.loads(str(arrays['index']))
  with tf.Graph().as_default(), tf.Session() as session:
    built = {key: _build(key, index, arrays) for key in arrays if key.startswith('out/')}
    computed = session.run({key: tensor for key, (tensor, _) in built.items()})
  return [
    Comparison(key, largest_difference(computed[key], arrays[key]), allowed)
    for key, (_, allowed) in built.items()
  ]


def _build(key: str, index: dict[str, Params], arrays: Arrays) -> tuple[tf.Tensor, float]:
  """Build our computation of an output; return it and the largest difference allowed."""
  entry = index[key]
  images = tf.constant(arrays[entry['input']])
  params = entry['params']
  kind = entry['kind']
  if kind == 'augmentation':
    return _augmentation(entry['op'], tf.cast(images, tf.float32), params, entry['config'])
  if kind == 'final resize + normalise':
    return image_ops.normalise(images, params['image_size']), _NORMALISED
  if kind == 'crop_and_resize':
    normalised = tf.cast(images, tf.float32) / 128.0 - 1.0
    size = (params['target'], params['target'])
    return photographic.crop_to(normalised, params['boxes'], size), _NORMALISED
  if kind == 'conversion back to uint8':
    return photographic.to_uint8(images), _LEVEL
  if kind == 'uint8 image primitive':
    return _primitive(key, images, params)
  raise ValueError(f'unknown kind {kind}')


def _primitive(key: str, images: tf.Tensor, params: Params) -> tuple[tf.Tensor, float]:
  """Builds a single change of uint8 images; the key out/prim/<name>[=value] says which one."""
  name = key.removeprefix('out/prim/').partition('=')[0]
  if name == 'flip_left_right':
    whole_mirrored = tf.constant([[0.0, 1.0, 1.0, 0.0]])
    boxes = tf.tile(whole_mirrored, [images.shape[0], 1])
    return photographic.crop(images, boxes), _NORMALISED
  operations: dict[str, tuple[Callable, str]] = {
    'hue': (tf.image.adjust_hue, 'delta'),
    'brightness': (tf.image.adjust_brightness, 'delta'),
    'contrast': (tf.image.adjust_contrast, 'factor'),
  }
  operation, param = operations[name]
  return operation(images, params[param]), _LEVEL


def _augmentation(
  name: str, images: tf.Tensor, params: Params, config: Params
) -> tuple[tf.Tensor, float]:
  """Builds one operation of the augmentation, or several in a row ('process...')."""
  count = int(images.shape[0])
  plan = _plan(params, count)
  if name.startswith('process'):
    return augmentation.apply_plan(_config(config), plan, images), _COLOUR
  operations: dict[str, tuple[Callable[[], tf.Tensor], float]] = {
    'contrast': (lambda: image_ops.contrast(images, plan.alpha), _COLOUR),
    'smooth': (lambda: image_ops.smooth(images), _COLOUR),
    'resize': (lambda: image_ops.resize_and_pad(images, plan.size), _COLOUR),
    'roll': (lambda: image_ops.roll(images, plan.roll_x, plan.roll_y), _EXACT),
    'rot90': (lambda: image_ops.rot90(images, plan.quarters), _EXACT),
    'rotate': (lambda: image_ops.rotate(images, plan.radians), _EXACT),
    'negate': (lambda: image_ops.negate(images), _EXACT),
  }
  operation, allowed = operations[name]
  return operation(), allowed


def _plan(params: Params, count: int) -> augmentation.AugmentationPlan:
  """Return a plan in which the random settings of all images have the recorded values."""
  tensors = {
    name: tf.fill([count], tf.constant(type(_VARIABLES[name])(value)))
    for name, value in {**_VARIABLES, **params}.items()
  }
  quarters = tf.cast(tf.floor(tensors.pop('rotate_90_times') + 2.0), tf.int32)
  return augmentation.AugmentationPlan(quarters=quarters, radians=tensors.pop('angle'), **tensors)


def _config(params: Params) -> config.AugmentationConfig:
  """Make our configuration of the recorded one, which has the original's names."""
  names = {'rotate_by_90': 'random_rotate_by_90'}
  return config.AugmentationConfig(
    **{names.get(name, name): value for name, value in params.items()}
  )
