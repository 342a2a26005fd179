"""A checkpoint and the settings beside it."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags_file, from_flags
from hypertransformer.settings.config import ContinualConfig
from hypertransformer.settings.model_config import ModelConfig

# The first of these variables that a checkpoint has convolves the image itself: [k, k, C,
# channels].
SEE_THE_IMAGE = (
  'model/shared_features/layer_1/kernel',
  'model/generator_1/features/layer_1/kernel',
  'model/cnn/layer_1/conv/kernel',
)


@dataclasses.dataclass(frozen=True)
class Trained:
  """A checkpoint that can be read, and the model it is of.

  values: all flag values of its run. model: without warm-up heads, which serve training only.
    image_shape: (S, S, C).
  continual: None for a HyperTransformer of single tasks.
  """

  prefix: str
  values: dict[str, Any]
  model: ModelConfig
  image_shape: tuple[int, int, int]
  continual: ContinualConfig | None


def find(checkpoint: str | os.PathLike[str]) -> Trained:
  """checkpoint: its path without .index ('logs/model-20000'), or a folder, for the newest in it.
  flags.json is beside it. Raises InputError.
  """
  prefix = checkpoints.locate(os.fspath(checkpoint), 'checkpoint')
  values = flags_file.read_model_flags(os.path.dirname(prefix))
  settings = from_flags.settings_from(values)
  if settings.loss.pretrain_shared:
    raise InputError(
      f'checkpoint {prefix} holds pre-trained shared features only (--pretrain_shared_feature): give '
      'one of the run that started from it.'
    )
  model = dataclasses.replace(settings.model, warmup_heads='none')
  side = settings.data.image_size
  return Trained(prefix, values, model, (side, side, _channels(prefix)), settings.continual)


def _channels(prefix: str) -> int:
  """C of the images that the model was trained on, which no flag says."""
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  for name in SEE_THE_IMAGE:
    if name in shapes:
      return shapes[name][2]
  raise InputError(
    f'checkpoint {prefix} is none of this package: it has none of the variables '
    f'{", ".join(SEE_THE_IMAGE)}. Import one of the original with utils/convert_checkpoint.py.'
  )
