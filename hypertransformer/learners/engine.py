"""Opens a checkpoint and runs its model on arrays, in a graph and a session of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.data import files
from hypertransformer.episodes import image_ops
from hypertransformer.errors import InputError
from hypertransformer.model import continual
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.runtime import checkpoints, sessions
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import Settings

# The first of these variables that a checkpoint has is the kernel of a convolution that sees the
# image itself, [k, k, channels of the image, channels of its output].
SEE_THE_IMAGE = (
  'model/shared_features/layer_1/kernel',
  'model/generator_1/features/layer_1/kernel',
  'model/cnn/layer_1/conv/kernel',
)
CLOSED = 'The learner is closed. Open a new one, and use it before the end of its `with`.'

BlockArrays = dict[str, np.ndarray]  # the weight blocks [B, b] of each generated layer, by its name


@dataclasses.dataclass(frozen=True)
class Trained:
  """A checkpoint that can be read, and the settings of its run.

  Attributes:
    prefix: The path of the checkpoint, without extension.
    settings: The settings of its run, without warm-up heads, which serve training only.
    image_shape: Height, width and channels of the images as the model sees them.
  """

  prefix: str
  settings: Settings
  image_shape: tuple[int, int, int]


def find(checkpoint: str | os.PathLike[str]) -> Trained:
  """Find a checkpoint and read its settings from the flags.json beside it.

  Args:
    checkpoint: Its path without .index, such as 'logs/model-20000'; or its directory, for the
      latest checkpoint in it. A leading `~` is the home directory.

  Raises:
    InputError: The checkpoint or flags.json cannot be read, or the model cannot classify.
  """
  path = str(files.expanded(checkpoint)) if os.fspath(checkpoint) else ''
  prefix = checkpoints.locate(path, 'checkpoint')
  settings = flags_file.read_settings(os.path.dirname(prefix))
  if settings.loss.pretrain_shared:
    raise InputError(
      f'Checkpoint {prefix} holds pre-trained shared features only (pretrain_shared_feature). Use '
      'a checkpoint of the run that started from it.'
    )
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  kernel = next((shapes[name] for name in SEE_THE_IMAGE if name in shapes), None)
  if kernel is None:  # no flag holds the number of channels
    raise InputError(
      f'Checkpoint {prefix} was not written by this package: it has none of the variables '
      f'{", ".join(SEE_THE_IMAGE)}. Import a checkpoint of the original with '
      'hypertransformer convert checkpoint.'
    )
  side = settings.data.image_size
  model = dataclasses.replace(settings.model, warmup_heads='none')
  return Trained(prefix, dataclasses.replace(settings, model=model), (side, side, kernel[2]))


class Engine:
  """Runs a trained model on arrays of the caller, in place of episodes. It holds no task."""

  def __init__(self, trained: Trained) -> None:
    """Build the graph with all that can be fetched, and restore the checkpoint.

    Raises:
      InputError: The checkpoint does not match the flags beside it.
    """
    self._flag_values = trained.settings.flag_values
    self._closed = False
    config = trained.settings.continual
    constant = config is not None and config.method == 'constant_protonet'
    with _sizes_are_ints(), tf.Graph().as_default():
      model = HyperTransformer(trained.settings.model, trained.image_shape)
      self._images = tf.placeholder(tf.float32, [None, *trained.image_shape], 'images')
      self._labels = tf.placeholder(tf.int32, [None], 'labels')
      self._prototypes = tf.placeholder(
        tf.float32, [None, *model.plans[-1].output_shape], 'prototypes'
      )
      self._blocks = {
        plan.name: tf.placeholder(
          tf.float32, [plan.layout.num_blocks, plan.layout.block_size], plan.name
        )
        for plan in model.plans
        if plan.layout is not None and not constant
      }
      normalized = image_ops.normalise(self._images, trained.image_shape[0])
      support = Support(normalized, self._labels)
      weights, means = (
        continual.embed_task(model, support)
        if constant
        else continual.learn_task(model, support, before=None if config is None else self._blocks)
      )
      classified = model.classify(normalized, model.with_blocks(self._blocks))
      self._outputs = classified.logits
      self._scores = continual.prototype_scores(self._outputs[None], self._prototypes[None])[0]
      self._cnn = {f'{use.layer}/{use.variable}': use.value for use in classified.uses}
      self._learned = model.used_blocks(weights), means
      self._variables = tf.global_variables()  # only now, since all of the above can create some
      checkpoints.require_match(trained.prefix, self._variables)
      self._session = tf.Session(config=sessions.config(tf.get_default_graph()))
      tf.train.Saver(self._variables).restore(self._session, trained.prefix)

  @property
  def generated_layers(self) -> list[str]:
    """The names of the layers that have weight blocks, in order; [] if none is generated."""
    return list(self._blocks)

  def no_blocks(self) -> BlockArrays:
    """Return the weight blocks before the first task: zeros."""
    return {name: np.zeros(x.shape.as_list(), np.float32) for name, x in self._blocks.items()}

  def learn(
    self, images: np.ndarray, labels: np.ndarray, before: BlockArrays
  ) -> tuple[BlockArrays, np.ndarray]:
    """Learn from one support set.

    Args:
      images: The support images, float32 [n, S, S, C], in 0..255.
      labels: Their labels, int [n], in 0..K-1.
      before: The weight blocks after the earlier tasks; {} if the model does not learn sequences
        of tasks.

    Returns:
      The weight blocks of the CNN, trained parts included; and the mean output of the CNN over the
      support images of each class, [K, outputs].
    """
    return self._run(self._learned, before, {self._images: images, self._labels: labels})

  def outputs(self, images: np.ndarray, blocks: BlockArrays) -> np.ndarray:
    """Return the outputs of the CNN with these weight blocks, float32 [n, outputs].

    Batch norm uses the statistics of these images, float32 [n, S, S, C], in 0..255.
    """
    return self._run(self._outputs, blocks, {self._images: images})

  def scores(self, images: np.ndarray, blocks: BlockArrays, prototypes: np.ndarray) -> np.ndarray:
    """Return minus the squared distances of the outputs to prototypes, float32 [n, classes]."""
    return self._run(self._scores, blocks, {self._images: images, self._prototypes: prototypes})

  def weights(self, blocks: BlockArrays) -> dict[str, np.ndarray]:
    """Return the variables of the CNN as it uses them, by names such as 'layer_1/conv/kernel'."""
    return self._run(self._cnn, blocks, {})

  def fingerprint(self) -> str:
    """Return a digest of the model's settings and variables.

    What one model has learned means nothing to another; fingerprints tell them apart.
    """
    values = flags_file.changed_model_flags(self._flag_values)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    variables = self._run({variable.op.name: variable for variable in self._variables}, {}, {})
    for name, value in sorted(variables.items()):
      digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()

  def close(self) -> None:
    """Close the session; a call that another thread makes in the meantime ends with `CLOSED`."""
    self._closed = True
    self._session.close()

  def _run(self, fetches: Any, blocks: BlockArrays, fed: dict[tf.Tensor, np.ndarray]) -> Any:
    try:
      fed = fed | {self._blocks[name]: value for name, value in blocks.items()}
      return self._session.run(fetches, fed)
    except (tf.errors.OpError, RuntimeError) as error:
      if self._closed:
        raise InputError(CLOSED) from error
      raise


@contextlib.contextmanager
def _sizes_are_ints() -> Iterator[None]:
  """Make the sizes in a TensorShape ints for a time, which building a model relies on.

  They are not ints if the caller has switched to TensorFlow 1 (tf.disable_v2_behavior).
  """
  switched = not isinstance(tf.TensorShape([1])[0], int)
  if switched:
    tf.enable_v2_tensorshape()
  try:
    yield
  finally:
    if switched:
      tf.disable_v2_tensorshape()
