"""Finds a checkpoint of a trained model and reads the settings beside it."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags_file, from_flags
from hypertransformer.settings.config import ContinualConfig
from hypertransformer.settings.model_config import ModelConfig

# The first of these variables that a checkpoint has is the kernel of a convolution that sees the
# image itself, [k, k, channels of the image, channels of its output].
SEE_THE_IMAGE = (
  'model/shared_features/layer_1/kernel',
  'model/generator_1/features/layer_1/kernel',
  'model/cnn/layer_1/conv/kernel',
)


@dataclasses.dataclass(frozen=True)
class Trained:
  """A checkpoint that can be read, and the settings of its model.

  Attributes:
    prefix: the path of the checkpoint, without ending.
    values: all flag values of its run.
    model: the settings of the model, without warm-up heads, which serve training only.
    image_shape: height, width and channels of the images as the model sees them.
    continual: how sequences of tasks are learned; None for a HyperTransformer of single tasks.
  """

  prefix: str
  values: dict[str, Any]
  model: ModelConfig
  image_shape: tuple[int, int, int]
  continual: ContinualConfig | None


def find(checkpoint: str | os.PathLike[str]) -> Trained:
  """Finds a checkpoint and reads its settings from the flags.json beside it.

  Args:
    checkpoint: its path without .index, such as 'logs/model-20000'; or its folder, for the newest
      checkpoint in it. `~` at its beginning is the home folder.

  Raises:
    InputError: checkpoint or flags.json cannot be read, or the checkpoint is not one of a model
      that can classify.
  """
  prefix = checkpoints.locate(files.expanded_text(checkpoint), 'checkpoint')
  values = flags_file.read_model_flags(os.path.dirname(prefix))
  settings = from_flags.settings_from(values)
  if settings.loss.pretrain_shared:
    raise InputError(
      f'checkpoint {prefix} holds pre-trained shared features only (--pretrain_shared_feature): '
      'give one of the run that started from it.'
    )
  model = dataclasses.replace(settings.model, warmup_heads='none')
  side = settings.data.image_size
  return Trained(prefix, values, model, (side, side, _channels(prefix)), settings.continual)


def _channels(prefix: str) -> int:
  """The number of channels of the images that the model was trained on, which no flag tells."""
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  for name in SEE_THE_IMAGE:
    if name in shapes:
      return shapes[name][2]
  raise InputError(
    f'checkpoint {prefix} is none of this package: it has none of the variables '
    f'{", ".join(SEE_THE_IMAGE)}. Import one of the original with utils/convert_checkpoint.py.'
  )
