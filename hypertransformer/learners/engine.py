"""Runs a trained model one step at a time, in a graph and a session of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.data import files
from hypertransformer.episodes import image_ops
from hypertransformer.errors import InputError
from hypertransformer.model import continual
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.runtime import checkpoints, sessions
from hypertransformer.settings import flags, flags_file
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
  prefix = checkpoints.locate(str(files.expanded(checkpoint)), 'checkpoint')
  values = flags_file.read_model_flags(os.path.dirname(prefix))
  settings = flags.settings_from(values)
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


_CLOSED = 'the learner is closed; make a new one, and use it before the end of its `with`.'
Blocks = dict[str, np.ndarray]  # the weight blocks [B, b] of each generated layer, by its name


@dataclasses.dataclass(frozen=True)
class Learned:
  """What is learned from a support set.

  Attributes:
    blocks: the weight blocks of the CNN, trained parts included.
    means: the mean output of the CNN over the support images of each class, [K, outputs].
  """

  blocks: Blocks
  means: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Graph:
  """The session of a model, and the tensors that are fed to it and asked of it.

  Attributes:
    session: the session, with the variables restored.
    images: float32 [n, S, S, C], in 0..255, of a support set or of queries.
    labels: int32 [n], those of a support set.
    known: the prototypes [classes, outputs].
    blocks: the weight blocks of each generated layer.
    learned: the new weight blocks, and the mean outputs of the classes.
    outputs: the outputs of the CNN for the images.
    scores: those of the images for each prototype.
    rows: the variables of the CNN by name.
    variables: those of the model, as in the checkpoint.
  """

  session: tf.Session
  images: tf.Tensor
  labels: tf.Tensor
  known: tf.Tensor
  blocks: dict[str, tf.Tensor]
  learned: tuple[dict[str, tf.Tensor], tf.Tensor]
  outputs: tf.Tensor
  scores: tf.Tensor
  rows: dict[str, tf.Tensor]
  variables: list[tf.Variable]


class Engine:
  """Runs the code of the model on arrays of the caller, in place of episodes."""

  def __init__(self, trained: Trained) -> None:
    """Builds the graph and restores the checkpoint.

    Raises:
      InputError: the checkpoint does not fit the flags beside it.
    """
    self._trained = trained
    # None when it is closed: whoever keeps a closed learner keeps no graph with it.
    self._graph: _Graph | None = None
    with _sizes_are_numbers(), tf.Graph().as_default():
      self._graph = _build(trained)

  @property
  def generated_layers(self) -> list[str]:
    """Names of the layers that have weight blocks, in their order; [] if none is generated."""
    return list(self._open().blocks)

  def no_blocks(self) -> Blocks:
    """The weight blocks before the first task: zeros."""
    return {
      name: np.zeros(place.shape.as_list(), np.float32)
      for name, place in self._open().blocks.items()
    }

  def learn(self, images: np.ndarray, labels: np.ndarray, before: Blocks) -> Learned:
    """Learns from one support set.

    Args:
      images: the support images, float32 [n, S, S, C], in 0..255.
      labels: their labels, int [n], in 0..K-1.
      before: the weight blocks that the earlier tasks have left; {} if the model does not learn
        sequences of tasks.
    """
    graph = self._open()
    fed = {graph.images: images, graph.labels: labels, **_fed(graph, before)}
    return Learned(*self._run(graph, graph.learned, fed))

  def outputs(self, images: np.ndarray, blocks: Blocks) -> np.ndarray:
    """The outputs of the CNN with these weight blocks, float32 [n, outputs].

    Batch norm uses the statistics of these images, float32 [n, S, S, C], in 0..255.
    """
    graph = self._open()
    return self._run(graph, graph.outputs, {graph.images: images, **_fed(graph, blocks)})

  def scores(self, images: np.ndarray, blocks: Blocks, known: np.ndarray) -> np.ndarray:
    """Minus the squared distance of the CNN's outputs to each prototype, float32 [n, classes].

    Args:
      images: float32 [n, S, S, C], in 0..255.
      blocks: the weight blocks of the CNN.
      known: the prototypes, [classes, outputs].
    """
    graph = self._open()
    fed = {graph.images: images, graph.known: known, **_fed(graph, blocks)}
    return self._run(graph, graph.scores, fed)

  def weights(self, blocks: Blocks) -> dict[str, np.ndarray]:
    """The variables of the CNN as it uses them, by names such as 'layer_1/conv/kernel'."""
    graph = self._open()
    return self._run(graph, graph.rows, _fed(graph, blocks))

  def fingerprint(self) -> str:
    """A digest of the model's settings and variables.

    What one model has learned means nothing to another, and this tells them apart.
    """
    values = flags_file.changed_model_flags(self._trained.values)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    graph = self._open()
    variables = self._run(graph, {variable.op.name: variable for variable in graph.variables}, {})
    for name, value in sorted(variables.items()):
      digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()

  def close(self) -> None:
    """Closes the session and lets go of the graph. It may be called several times.

    A call that another thread makes meanwhile ends with the error that the learner is closed.
    """
    graph, self._graph = self._graph, None
    if graph is not None:
      graph.session.close()

  def _open(self) -> _Graph:
    """The graph; raises InputError if the learner is closed."""
    if self._graph is None:
      raise InputError(_CLOSED)
    return self._graph

  def _run(self, graph: _Graph, fetches: Any, fed: Mapping[tf.Tensor, np.ndarray]) -> Any:
    try:
      return graph.session.run(fetches, fed)
    except (tf.errors.OpError, RuntimeError) as error:
      if self._graph is None:  # closed meanwhile, by another thread
        raise InputError(_CLOSED) from error
      raise


def _build(trained: Trained) -> _Graph:
  """Builds all that can be asked for in the default graph, and restores the checkpoint.

  Raises InputError if the checkpoint does not fit the flags beside it.
  """
  constant = trained.continual is not None and trained.continual.method == 'constant_protonet'
  model = HyperTransformer(trained.model, trained.image_shape)
  images = tf.placeholder(tf.float32, [None, *trained.image_shape], 'images')
  labels = tf.placeholder(tf.int32, [None], 'labels')
  known = tf.placeholder(tf.float32, [None, *model.plans[-1].output_shape], 'prototypes')
  blocks = (
    {}
    if constant
    else {
      plan.name: tf.placeholder(
        tf.float32, [plan.layout.num_blocks, plan.layout.block_size], plan.name
      )
      for plan in model.plans
      if plan.layout is not None
    }
  )
  seen = image_ops.normalise(images, trained.image_shape[0])
  support = Support(seen, labels)
  weights, means = (
    continual.embed_task(model, support)
    if constant
    else continual.learn_task(model, support, None, blocks if trained.continual else None)
  )
  classified = model.classify(seen, model.with_blocks(blocks))
  scores = continual.prototype_scores(classified.logits[None], known[None])[0]
  learned = model.used_blocks(weights), means
  rows = {f'{row.layer}/{row.variable}': row.value for row in classified.uses}
  # Only now, since what is above can make variables.
  variables = tf.global_variables()
  checkpoints.require_match(
    trained.prefix,
    variables,
    f'and the {flags_file.FLAGS_FILE} beside it are not of the same model, or not of this '
    'version of the package',
    'Take both from one training folder.',
  )
  session = tf.Session(config=sessions.config(tf.get_default_graph()))
  tf.train.Saver(variables).restore(session, trained.prefix)
  return _Graph(
    session=session,
    images=images,
    labels=labels,
    known=known,
    blocks=blocks,
    learned=learned,
    outputs=classified.logits,
    scores=scores,
    rows=rows,
    variables=variables,
  )


def _fed(graph: _Graph, blocks: Mapping[str, np.ndarray]) -> dict[tf.Tensor, np.ndarray]:
  """What is to be fed for these weight blocks."""
  return {graph.blocks[name]: value for name, value in blocks.items()}


@contextlib.contextmanager
def _sizes_are_numbers() -> Iterator[None]:
  """Makes the sizes in a TensorShape ints for a time, which building a model relies on.

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
