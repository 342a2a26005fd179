"""A checkpoint and the settings beside it."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flag_table, from_flags, older_runs
from hypertransformer.settings.config import ContinualConfig, ModelConfig

# The first of these variables that a checkpoint has convolves the image itself: [k, k, C, channels].
SEE_THE_IMAGE = ('model/shared_features/layer_1/kernel', 'model/generator_1/features/layer_1/kernel',
                 'model/cnn/layer_1/conv/kernel')


@dataclasses.dataclass(frozen=True)
class Trained:
  """A checkpoint that can be read, and the model it is of.

  values: all flag values of its run. model: without warm-up heads, which serve training only. image_shape: (S, S, C).
  continual: None for a HyperTransformer of single tasks.
  """
  prefix: str
  values: dict[str, Any]
  model: ModelConfig
  image_shape: tuple[int, int, int]
  continual: ContinualConfig | None


def find(checkpoint: str | os.PathLike[str]) -> Trained:
  """checkpoint: its path without .index ('logs/model-20000'), or a folder, for the newest in it. flags.json is beside
  it. Raises InputError."""
  prefix = checkpoints.locate(os.fspath(checkpoint), 'checkpoint')
  folder = os.path.dirname(prefix)
  values = _values(folder)
  older_runs.require_today(folder, values, training=False)
  if values['pretrain_shared_feature']:
    raise InputError(f'checkpoint {prefix} holds pre-trained shared features only (--pretrain_shared_feature): give '
                     'one of the run that started from it.')
  model = dataclasses.replace(from_flags.model_config(values), warmup_heads='none')
  side = values['image_size']
  return Trained(prefix, values, model, (side, side, _channels(prefix)), from_flags.continual_config(values))


def _values(folder: str) -> dict[str, Any]:
  """The flag values in flags.json, with defaults for flags that are younger than it."""
  path = os.path.join(folder, checkpoints.FLAGS_FILE)
  found = checkpoints.read_flags(folder)
  if found is None:
    raise InputError(f'{path} is missing: it says which model the checkpoint is of. Copy it from the training folder '
                     'together with the checkpoint.')
  if not isinstance(found, dict):
    raise InputError(f'{path} holds no flag values: copy it anew from the training folder.')
  wrong = [flag.name for flag in flag_table.ALL_FLAGS if flag.name in found and not _fits(flag, found[flag.name])]
  if wrong:
    raise InputError(f'{path}: {wrong[0]} is {found[wrong[0]]!r}, which is no value of that flag: copy the file anew '
                     'from the training folder.')
  return from_flags.defaults() | found


def _fits(flag: flag_table.Flag, value: Any) -> bool:
  if value is None:
    return flag.default is None
  if flag.choices and value not in flag.choices:
    return False
  return type(value) is flag.kind or (flag.kind is float and type(value) is int)


def _channels(prefix: str) -> int:
  """C of the images that the model was trained on, which no flag says."""
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  for name in SEE_THE_IMAGE:
    if name in shapes:
      return shapes[name][2]
  raise InputError(f'checkpoint {prefix} is none of this package: it has none of the variables '
                   f'{", ".join(SEE_THE_IMAGE)}. Import one of the original with utils/convert_checkpoint.py.')
