"""Compares the augmentation of images with numbers recorded from the original.

They are in files in the format of tests/golden/augment_gray28.npz (all of them: augment.npz in
../shared/golden). A file holds inputs in/..., and outputs out/... of the original's operations. Its
entry `index`, a JSON text, says for every output which operation made it, from which input and with
which settings.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import augmentation, image_ops, photographic
from hypertransformer.errors import InputError
from hypertransformer.settings import config
from tests.parity.tolerances import BAD_NPZ

# Of one output: (its key, largest absolute difference, allowed difference, whether it passed)
Result = tuple[str, float, float, bool]
Arrays = dict[str, np.ndarray]
Params = dict[str, Any]

# Where two pixels are equally near, a rotation may take the other one than the original did: this
# share of the pixels may differ.
ROTATED_PIXELS_ALLOWED = 0.005

# Allowed differences: of images that are only rearranged, of float images in 0..255, of normalised
# images in -1..1, and of uint8 images.
_EXACT, _COLOUR, _NORMALISED, _LEVEL = 0.0, 1e-3, 1e-5, 1.0
# What an entry raises that is not understood: our code does not know its operation or settings.
_NOT_UNDERSTOOD = (KeyError, TypeError, ValueError, AttributeError, InputError)


def check_augment(path: str | pathlib.Path) -> list[Result]:
  """Computes every output of a file of recorded augmentations again and compares it.

  Args:
    path: the .npz file.

  Returns:
    A Result for each output, in the order of the file. Where rotation is involved, an output passes
    if at most ROTATED_PIXELS_ALLOWED of the pixels differ by more than is allowed. An output that
    is not understood, or that the index describes but the file does not hold, does not pass: its
    key is followed by ' (not compared: <why>)'.

  Raises:
    InputError: the file is not a readable .npz file with a JSON `index`, or has no output.
  """
  arrays, index = _read(path)
  keys = [key for key in dict.fromkeys([*arrays, *index]) if key.startswith('out/')]
  if not keys:
    raise InputError(f'{path} holds no out/ entry; expected the format of golden/augment.npz.')
  built: dict[str, tuple[tf.Tensor, float]] = {}
  reasons: dict[str, str] = {}
  with tf.Graph().as_default():
    for key in keys:
      try:
        built[key] = _build(key, index, arrays)
      except _NOT_UNDERSTOOD as error:
        reasons[key] = f'{type(error).__name__}: {error}'.partition('\n')[0]
    with tf.Session() as session:
      computed = session.run({key: tensor for key, (tensor, _) in built.items()})
  return [
    _not_compared(key, reasons[key])
    if key in reasons
    else _compare(key, arrays[key], computed[key], built[key][1], _is_rotated(index[key]))
    for key in keys
  ]


def _read(path: str | pathlib.Path) -> tuple[Arrays, dict[str, Params]]:
  """Reads the arrays of a file, and its index: for each key, what is known about that array."""
  try:
    with np.load(path, allow_pickle=False) as data:
      arrays = {key: data[key] for key in data.files}
    index = json.loads(str(arrays['index']))
    if not isinstance(index, dict):
      raise ValueError('its index is not a JSON object')
  except BAD_NPZ as error:
    raise InputError(
      f'{path} cannot be read as golden augmentation data ({type(error).__name__}: {error}); '
      'expected an .npz file with a JSON string `index`, like golden/augment.npz.'
    ) from error
  return arrays, index


def _build(key: str, index: dict[str, Params], arrays: Arrays) -> tuple[tf.Tensor, float]:
  """Builds our computation of an output.

  Returns:
    The tensor, and the largest difference that is allowed.

  Raises:
    KeyError, TypeError, ValueError, AttributeError, InputError: the entry is not understood.
  """
  if key not in arrays or key not in index:
    raise ValueError(f'not in the {"index" if key in arrays else "file"}')
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
  """Returns a plan in which the random settings of all images have the recorded values."""
  known = {
    'rotate',
    'roll',
    'resize',
    'contrast',
    'smooth',
    'negate',
    'angle',
    'roll_x',
    'roll_y',
    'size',
    'alpha',
    'rotate_90_times',
  }
  if not known.issuperset(params):
    raise ValueError(f'unknown random variables {sorted(set(params) - known)}')

  def value(name: str) -> tf.Tensor:
    return tf.fill([count], tf.constant(params.get(name, 0.0), tf.float32))

  def switch(name: str) -> tf.Tensor:
    return tf.fill([count], bool(params.get(name, False)))

  return augmentation.AugmentationPlan(
    quarters=tf.cast(tf.floor(value('rotate_90_times') + 2.0), tf.int32),
    rotate=switch('rotate'),
    radians=value('angle'),
    roll=switch('roll'),
    roll_x=value('roll_x'),
    roll_y=value('roll_y'),
    resize=switch('resize'),
    size=value('size'),
    contrast=switch('contrast'),
    alpha=value('alpha'),
    smooth=switch('smooth'),
    negate=switch('negate'),
  )


def _config(params: Params) -> config.AugmentationConfig:
  """Makes our configuration of the recorded one, which has the original's names."""
  names = {'rotate_by_90': 'random_rotate_by_90'}
  return config.AugmentationConfig(
    **{names.get(name, name): value for name, value in params.items()}
  )


def _is_rotated(entry: Params) -> bool:
  """Whether the images of the entry were rotated by an angle (quarter turns do not count)."""
  return entry['kind'] == 'augmentation' and bool(entry['params'].get('rotate', False))


def _not_compared(key: str, reason: str) -> Result:
  """Makes the result of an output that is not understood."""
  return f'{key} (not compared: {reason})', float('inf'), 0.0, False


def _compare(
  key: str, expected: np.ndarray, ours: np.ndarray, allowed: float, rotated: bool
) -> Result:
  """Compares one output; arrays of different shapes, or without numbers, differ infinitely."""
  if expected.shape != ours.shape or expected.dtype.kind not in 'fiu':
    return key, float('inf'), allowed, False
  difference = np.abs(expected.astype(np.float64) - ours.astype(np.float64))
  largest = float(difference.max(initial=0.0))
  # Written so that NaN counts as too far off.
  differing = ~(difference <= allowed)
  passed = differing.mean() <= ROTATED_PIXELS_ALLOWED if rotated else not differing.any()
  return key, largest, allowed, bool(passed)
