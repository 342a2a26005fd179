"""Exports the CNN of a learner as a file that needs neither this package nor the transformer.

The exported model takes uint8 images [n, H, W, C], named `images`, and returns a score for each
class and image. Scaling and batch-norm statistics are inside, so it classifies each image by
itself. The names of the classes are in the file too.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pathlib
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hypertransformer.data import files
from hypertransformer.errors import InputError, require
from hypertransformer.model import cnn, layers
from hypertransformer.model.cnn import LayerPlan
from hypertransformer.settings.model_config import ModelConfig

LABELS = 'labels.txt'  # a class name a line, where TensorFlow Lite's tools look for them


@dataclasses.dataclass(frozen=True)
class FrozenCnn:
  """A CNN that classifies images one by one.

  Attributes:
    config: The model's settings.
    plans: Its layers, the logits layer last.
    variables: Its weights and its batch-norm statistics by name, such as 'layer_1/conv/kernel' and
      'layer_1/batch_norm/variance'.
    classes: The names of the classes.
    prototypes: [classes, outputs], if classes are told by the distance to prototypes; else None.
    support: The support images, uint8 [n, H, W, C], with which an int8 model is calibrated; None if
      they were not kept.
  """

  config: ModelConfig
  plans: Sequence[LayerPlan]
  variables: dict[str, np.ndarray]
  classes: Sequence[str]
  prototypes: np.ndarray | None
  support: np.ndarray | None


def write(found: FrozenCnn, path: str | os.PathLike[str], int8: bool = False) -> pathlib.Path:
  """Write a CNN to a file; the ending of its name tells the format.

  `.keras` (Keras 3), `.tflite` (TensorFlow Lite), `.onnx` (ONNX; needs the extra `onnx`), `.npz`
  (NumPy arrays, without a program), and no ending for a directory in the SavedModel format.

  Args:
    found: The CNN.
    path: The file, which is replaced if it exists; or the directory, which must not exist.
    int8: Whether weights and activations of a .tflite file have 8 bits.

  Returns:
    The path.

  Raises:
    InputError: The ending is unknown, a package is missing, or the path cannot be written.
  """
  target = files.expanded(path)
  require(
    target.suffix in _WRITERS,
    f'{target} has an unknown ending. Use one of {", ".join(filter(None, _WRITERS))}, or none for '
    'a SavedModel directory.',
  )
  require(
    not int8 or target.suffix == '.tflite', f'int8 requires a .tflite file; the path is {target}.'
  )
  if target.suffix == '':
    with files.atomic_folder(target) as folder:
      _WRITERS[''](found, folder)
    return target
  with tempfile.TemporaryDirectory() as temporary:
    made = pathlib.Path(temporary) / f'cnn{target.suffix}'
    if int8:
      _write_tflite(found, made, int8=True)
    else:
      _WRITERS[target.suffix](found, made)
    with files.atomic_file(target) as file:
      file.write(made.read_bytes())
  return target


def keras_model(found: FrozenCnn) -> Any:
  """Return the CNN as a Keras model, whose outputs are float32 [n, classes]."""
  import keras

  require(
    tf.executing_eagerly(),
    'TensorFlow runs in graph mode here, in which Keras cannot build a model. Export from a '
    'program without tf.disable_eager_execution() or tf.disable_v2_behavior().',
  )
  of, config = found.variables, found.config
  images = keras.Input(found.plans[0].input_shape, dtype='uint8', name='images')
  x = keras.layers.Rescaling(1 / 128, offset=-1.0)(images)
  for plan in found.plans[:-1]:
    names = 'gamma', 'beta', 'mean', 'variance'
    x = _with_weights(
      keras.layers.Conv2D(
        config.channels, config.kernel_size, config.stride, plan.padding.lower(), name=plan.name,
        use_bias=config.generate_bias,
      ),
      x,
      *(of[f'{plan.name}/conv/{part}'] for part in ('kernel', 'bias')[: 1 + config.generate_bias]),
    )  # fmt: skip
    if plan.pool:
      x = keras.layers.MaxPool2D(2)(x)
    x = keras.layers.ReLU(
      negative_slope=0.0 if config.cnn_activation == 'relu' else cnn.LEAKY_SLOPE
    )(x)
    norm = keras.layers.BatchNormalization(epsilon=layers.BATCH_NORM_EPSILON)
    x = _with_weights(norm, x, *(of[f'{plan.name}/batch_norm/{name}'] for name in names))
  last = found.plans[-1]
  x = keras.layers.Flatten()(x) if last.flatten else keras.layers.GlobalAveragePooling2D()(x)
  kernel, bias = (of[f'{last.name}/logits/{part}'] for part in ('kernel', 'bias'))
  if found.prototypes is None:
    count = len(found.classes)
    scores = _with_weights(
      keras.layers.Dense(count, name='scores'), x, kernel[:, :count], bias[:count]
    )
  else:
    x = _with_weights(keras.layers.Dense(len(bias), name='embedding'), x, kernel, bias)
    away = keras.ops.expand_dims(x, 1) - found.prototypes[None]
    scores = -keras.ops.sum(keras.ops.square(away), -1)
  return keras.Model(images, scores)


def _with_weights(layer: Any, x: Any, *weights: np.ndarray) -> Any:
  y = layer(x)
  layer.set_weights(weights)
  return y


def _write_keras(found: FrozenCnn, path: pathlib.Path) -> None:
  keras_model(found).save(path)
  _append_labels(found, path)


def _write_saved_model(found: FrozenCnn, path: pathlib.Path) -> None:
  keras_model(found).export(path, verbose=False)
  extra = path / 'assets.extra'
  extra.mkdir()
  (extra / LABELS).write_text(_labels(found))


def _write_tflite(found: FrozenCnn, path: pathlib.Path, int8: bool = False) -> None:
  with tempfile.TemporaryDirectory() as folder:
    keras_model(found).export(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if int8:
      support = found.support
      assert support is not None
      converter.optimizations = [tf.lite.Optimize.DEFAULT]
      converter.representative_dataset = lambda: ([image[None]] for image in support)
    path.write_bytes(converter.convert())
  _append_labels(found, path)


def _write_onnx(found: FrozenCnn, path: pathlib.Path) -> None:
  try:
    onnx = importlib.import_module('onnx')
    importlib.import_module('tf2onnx')
  except ImportError as error:
    raise InputError(f"pip install 'hypertransformer[onnx]': {error.name} is missing.") from error
  model = keras_model(found)
  model(np.zeros((1, *found.plans[0].input_shape), np.uint8))  # or Keras refuses to export it
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', FutureWarning)  # of Keras, about np.object
    model.export(path, format='onnx', verbose=False)
  exported = onnx.load(path)
  onnx.helper.set_model_props(exported, {'classes': json.dumps(list(found.classes))})
  onnx.save(exported, path)


def _write_npz(found: FrozenCnn, path: pathlib.Path) -> None:
  """Write the arrays, and as `about` in JSON what is needed to compute with them."""
  about = {
    'convolutions': [
      {'name': plan.name, 'padding': plan.padding, 'pool': plan.pool} for plan in found.plans[:-1]
    ],
    'stride': found.config.stride,
    'activation': found.config.cnn_activation,
    'epsilon': layers.BATCH_NORM_EPSILON,
    'logits': found.plans[-1].name,
    'flatten': found.plans[-1].flatten,
    'classes': list(found.classes),
  }
  prototypes = {} if found.prototypes is None else {'prototypes': found.prototypes}
  np.savez(path, about=np.array(json.dumps(about)), **prototypes, **found.variables)  # type: ignore[arg-type]


def _labels(found: FrozenCnn) -> str:
  return ''.join(f'{name}\n' for name in found.classes)


def _append_labels(found: FrozenCnn, path: pathlib.Path) -> None:
  """Add the class names to the zip archive that a .keras file is and a .tflite file ends in."""
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr(LABELS, _labels(found))


_WRITERS: dict[str, Callable[[FrozenCnn, pathlib.Path], None]] = {
  '.keras': _write_keras,
  '.tflite': _write_tflite,
  '.onnx': _write_onnx,
  '.npz': _write_npz,
  '': _write_saved_model,
}
